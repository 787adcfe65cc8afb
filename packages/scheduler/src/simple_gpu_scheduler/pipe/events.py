"""What happens in a run of the pipe: the events for its listeners, all immutable."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.policy.model import Hold, Running, Start
from simple_gpu_scheduler.processes.records import Exit, Leftover


class Ended(NamedTuple):
    """Event: an attempt of a job is over."""

    running: Running
    exit: Exit
    runtime_s: float  #: from its start to the end of its first process
    ok: bool  #: the command ended by itself with status 0
    aborted: bool = False  #: ended by an interrupt or --halt now: it counts as not run
    retry: bool = False  #: it failed and will run again
    leftovers: tuple[Leftover, ...] = ()
    peak_vram_mib: int | None = None  #: the most GPU memory on one GPU; None: not measured
    other_gpus: tuple[str, ...] = ()  #: GPUs that it used although it had no lease on them


class Rejected(NamedTuple):
    """Event: a line can't be run; it counts as a failed job."""

    seq: int
    command: bytes
    reason: str
    wall_s: float  #: when, in seconds since 1970


class Skipped(NamedTuple):
    """Event: the job log says that this line is done."""

    seq: int
    changed: bool = False  #: the job log has another command for this line


class Notice(NamedTuple):
    """Event: a message for the user."""

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
        """The number of jobs that ran to their end."""
        return self.succeeded + self.failed


class Progress(NamedTuple):
    """Event: how far the run is; reported only if the loop has `tick_s`."""

    now_s: float
    counts: Counts
    running: tuple[Running, ...]
    known: int  #: the number of jobs in the input as far as it was read
    complete: bool  #: the input has ended: `known` is the total
    hold: Hold | None  #: the first job that waits, and why


class Finished(NamedTuple):
    """Event: the run is over."""

    counts: Counts
    exit_status: int


Event = Start | Running | Ended | Rejected | Skipped | Notice | Progress | Finished
