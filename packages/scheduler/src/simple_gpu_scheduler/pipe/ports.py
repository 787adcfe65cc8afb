"""What the loop needs from the outside. Each port has a real adapter and a fake in `testing`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from simple_gpu_scheduler.jobs.job import Job, Line
from simple_gpu_scheduler.policy.model import Card, Event, Exit, Hold, JobProcess, Leftover, Start


class Clock(Protocol):
    """Time, in seconds."""

    def now_s(self) -> float:
        """Monotonic; only differences mean anything."""
        ...

    def wall_s(self) -> float:
        """Since the epoch."""
        ...


class Source(Protocol):
    """Where commands come from."""

    @property
    def wants_input(self) -> bool:
        """True while it would read more, if more were there."""
        ...

    @property
    def at_end(self) -> bool:
        """True once every line was taken and no more can come."""
        ...

    @property
    def known(self) -> int:
        """Lines seen so far, taken or not."""
        ...

    @property
    def complete(self) -> bool:
        """True once the end was seen: `known` is then the total."""
        ...

    def fill(self) -> None:
        """Read once; called only when the input is ready."""
        ...

    def take(self) -> Line | None:
        """The next line, or None if no whole line is there yet."""
        ...


class Done(Protocol):
    """Which lines of the input were run before."""

    def __contains__(self, seq: object) -> bool:
        """True if the line need not run again."""
        ...

    def is_same(self, seq: int, command: bytes) -> bool:
        """True if it was this very command that ran."""
        ...


class Lease(NamedTuple):
    """The right to use a share of some GPUs; whoever inherits the descriptor holds it."""

    id: str  #: what the job knows it by; the next job that gets the lease knows it by another one
    fd: int


class Leases(Protocol):
    """What we and all other users of the machine hold."""

    @property
    def cards(self) -> Sequence[Card]:
        """Our GPUs, with what others have of them, as last seen."""
        ...

    @property
    def wake_fd(self) -> int | None:
        """Readable once others' leases have changed; None while nothing waits for them."""
        ...

    @property
    def look_again_s(self) -> float | None:
        """How soon to look again where nothing wakes us; mostly None."""
        ...

    def look(self) -> None:
        """See what others hold now.

        Raises:
            SgsError: leases can't be read.
        """
        ...

    def take(self, start: Start) -> Lease | None:
        """The lease for a job; None if others were faster: then `cards` says what they have.

        Raises:
            PassingError: something is lacking for now.
            SgsError: leases can't be had at all.
        """
        ...

    def finish(self, job: Job, *, reuse: bool = True) -> None:
        """The job is over; with `reuse` the next one on the same GPUs may have its lease."""
        ...

    def fault(self, gpus: Sequence[str]) -> str | None:
        """Why one of these GPUs can't be used any more; None if they are well, or nobody knows."""
        ...

    def remarks(self) -> Sequence[str]:
        """What the user should know by now, each once."""
        ...

    def settle(self, hold: Hold | None) -> str | None:
        """All that could start has started: give back what no job uses, queue up for `hold`.

        Returns:
            None if nothing has changed; else others were looked at anew, and this is whom the job
            waits for; empty if that was said before.

        Raises:
            HopelessError: the job can't ever have its GPUs; others may have theirs.
            SgsError: leases can't be had at all.
        """
        ...


class MemoryMeter(Protocol):
    """Sees what jobs have on GPUs; the driver must be asked while they run."""

    def processes(self, jobs: Collection[int]) -> Sequence[JobProcess]:
        """What these jobs, by the ids of their first processes, have on any GPU now.

        Empty if nobody knows.
        """
        ...


class Runner(Protocol):
    """Starts jobs, ends them, and says how they ended."""

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        """Start the job, which inherits the lease; returns the process id.

        Raises:
            OSError: it could not be started.
        """
        ...

    def reap(self) -> Exit | None:
        """A job that has ended, each once; None if there is no more; never waits."""
        ...

    def last_words(self, job: Job) -> bytes:
        """The end of what an ended job printed; empty where nobody keeps it."""
        ...

    def signal(self, pid: int, seq: int, number: int) -> int:
        """Send a signal to the job's whole process tree; returns how many processes it met."""
        ...

    def leftovers(self, pid: int, seq: int, *, thorough: bool) -> tuple[Leftover, ...]:
        """Processes of an ended job that still live.

        Args:
            thorough: look at every process of the user, not just at the job's process group.
        """
        ...

    def survivors(self) -> dict[int, tuple[Leftover, ...]]:
        """What all ended jobs left behind and still lives, by job; may take milliseconds."""
        ...


class Woken(NamedTuple):
    """Why the wait ended."""

    input_ready: bool
    signals: tuple[int, ...]
    watched_ready: bool = False


class Wait(Protocol):
    """Sleeps in the kernel."""

    def wait(
        self, timeout_s: float | None, *, want_input: bool, watch_fd: int | None = None
    ) -> Woken:
        """Sleep until a job ends, a signal comes, input is ready (if wanted) or time is up.

        Args:
            watch_fd: one more descriptor that may become readable.
        """
        ...


class Listener(Protocol):
    """Is told what happens: the console, the joblog, the progress bar."""

    def hear(self, event: Event) -> None:
        """Take note.

        Raises:
            SgsError: the event can't be recorded; the loop then starts no more jobs.
        """
        ...
