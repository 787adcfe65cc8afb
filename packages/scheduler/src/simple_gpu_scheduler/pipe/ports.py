"""What the loop needs from outside. Each port has an implementation and a fake in `testing`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from simple_gpu_scheduler.jobs.job import Job, Line
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.pipe.events import Event
from simple_gpu_scheduler.policy.model import Card, Hold, Start


class Clock(Protocol):
    """The time, in seconds."""

    def now_s(self) -> float:
        """The monotonic time; only differences mean anything."""
        ...

    def wall_s(self) -> float:
        """The time since 1970."""
        ...


class Source(Protocol):
    """The lines of the input."""

    @property
    def wants_input(self) -> bool:
        """True while `fill` would read more, if more is there."""
        ...

    @property
    def at_end(self) -> bool:
        """True once every line was taken and the input has ended."""
        ...

    @property
    def known(self) -> int:
        """The number of lines read so far, taken or not."""
        ...

    @property
    def complete(self) -> bool:
        """True once the input has ended: `known` is then the total."""
        ...

    def fill(self) -> None:
        """Read once; called only when the input is ready.

        Raises:
            OSError: The input can't be read.
        """
        ...

    def take(self) -> Line | None:
        """The next line; None if no whole line is there yet."""
        ...


class Done(Protocol):
    """The lines of the input that were run before."""

    def __contains__(self, seq: object) -> bool:
        """True if the line need not run again."""
        ...

    def is_same(self, seq: int, command: bytes) -> bool:
        """True if the line had the same command when it ran."""
        ...


class Leases(Protocol):
    """The leases of this program, and what all others leave of the GPUs."""

    @property
    def cards(self) -> Sequence[Card]:
        """Our GPUs, with what others had of them at the last `refresh`."""
        ...

    @property
    def wake_fd(self) -> int | None:
        """A descriptor, readable once others' leases have changed; None while no job waits."""
        ...

    @property
    def refresh_in_s(self) -> float | None:
        """How soon to `refresh` if `wake_fd` can't tell; mostly None."""
        ...

    def refresh(self) -> None:
        """Read what others hold now.

        Raises:
            PassingError: Something is lacking for now.
            SgsError: Leases can't be read.
        """
        ...

    def take(self, start: Start) -> Lease | None:
        """Lease GPUs for a job; None if others were faster: then `cards` shows what they have.

        Raises:
            PassingError: Something is lacking for now.
            SgsError: GPUs can't be leased on this machine.
        """
        ...

    def finish(self, job: Job, *, reuse: bool = True) -> None:
        """End the lease of a job; with `reuse` the next job on its GPUs may get the same lease."""
        ...

    def fault(self, gpus: Sequence[str]) -> str | None:
        """Why one of these GPUs can't be used any more; None if no fault is known."""
        ...

    def remarks(self) -> Sequence[str]:
        """New messages for the user, each once."""
        ...

    def settle(self, hold: Hold | None) -> str | None:
        """Give back the GPUs that no job uses, and wait for those of `hold`.

        Called once all jobs have started that can.

        Returns:
            None if nothing has changed. Else `cards` was refreshed, and this is whom the job waits
            for; empty if that was returned before.

        Raises:
            HopelessError: The job can never have its GPUs; other jobs may have theirs.
            PassingError: Something is lacking for now.
            SgsError: GPUs can't be leased on this machine.
        """
        ...


class Listener(Protocol):
    """Receives events: the console, the job log, the progress bar."""

    def on_event(self, event: Event) -> None:
        """Handle an event.

        Raises:
            SgsError: The event can't be recorded; the loop then starts no more jobs.
        """
        ...
