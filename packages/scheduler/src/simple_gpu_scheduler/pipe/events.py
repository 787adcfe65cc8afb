"""What happens in a run of the pipe, as its listeners hear it; all immutable."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.policy.model import Hold, Running, Start
from simple_gpu_scheduler.processes.records import Exit, Leftover


class Ended(NamedTuple):
    """Event: a job's attempt is over."""

    running: Running
    exit: Exit
    runtime_s: float
    ok: bool  #: the command ended by itself with status 0
    aborted: bool = False  #: ended by an interrupt or --halt now: it counts as not run
    retry: bool = False  #: it failed and will run again
    leftovers: tuple[Leftover, ...] = ()
    peak_vram_mib: int | None = None  #: most seen on one GPU; None: not measured
    other_gpus: tuple[str, ...] = ()  #: where it was seen, although they weren't given to it


class Rejected(NamedTuple):
    """Event: a line that can't be run; it counts as a failed job."""

    seq: int
    command: bytes
    reason: str
    wall_s: float


class Skipped(NamedTuple):
    """Event: the joblog says that this line is done."""

    seq: int
    changed: bool = False  #: but what it has there is another command


class Notice(NamedTuple):
    """Event: something the user should read."""

    text: str


class Counts(NamedTuple):
    """How many jobs came to which end."""

    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    aborted: int = 0  #: ended by an interrupt or --halt now: they count as not run
    unstarted: int = 0  #: read but not run

    @property
    def done(self) -> int:
        """Jobs that ran to their end."""
        return self.succeeded + self.failed


class Progress(NamedTuple):
    """Event: how far the run is; reported only to those who asked for it."""

    now_s: float
    counts: Counts
    running: tuple[Running, ...]
    known: int  #: lines of the input seen so far
    complete: bool  #: no more can come: `known` is the total
    hold: Hold | None


class Finished(NamedTuple):
    """Event: the run is over."""

    counts: Counts
    exit_status: int


Event = Start | Running | Ended | Rejected | Skipped | Notice | Progress | Finished
