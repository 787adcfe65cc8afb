"""What the loop needs from the outside. Each port has a real adapter and a fake in `testing`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from simple_gpu_scheduler.jobs.job import Job, Line
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.pipe.events import Event
from simple_gpu_scheduler.policy.model import Card, Hold, Start


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
    def refresh_in_s(self) -> float | None:
        """How soon to look again where nothing wakes us; mostly None."""
        ...

    def refresh(self) -> None:
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


class Listener(Protocol):
    """Is told what happens: the console, the joblog, the progress bar."""

    def on_event(self, event: Event) -> None:
        """Take note.

        Raises:
            SgsError: the event can't be recorded; the loop then starts no more jobs.
        """
        ...
