"""What becomes of a job whose attempt has ended: one decision, for the pipe and for the queue."""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job

#: What a job asks for that ran out of GPU memory: so many times what it had.
_FACTOR = 1.5


class AttemptResult(NamedTuple):
    """What is known of an attempt that has ended."""

    job: Job  #: as it was started
    succeeded: bool  #: the command ended by itself, with status 0
    cancelled: bool = False  #: somebody wanted it to end
    gpu_fault: str = ""  #: why one of its GPUs can't be used any more
    out_of_memory: bool = False  #: its last words say that GPU memory was lacking
    peak_mib: int | None = None  #: the most it was seen to have on one GPU; None: not measured
    most_mib: int = 0  #: the most that a job of so many GPUs can have on each of them


class OutcomeKind(enum.Enum):
    """What becomes of the job."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRY = "retry"  #: it failed and has attempts left
    AFTER_FAULT = "after a fault"  #: its GPU failed: that is no fault of the job
    MORE_MEMORY = "more memory"  #: it ran out of the memory that it had asked for

    @property
    def is_excused(self) -> bool:
        """True if the attempt doesn't count: it was no fault of the job."""
        return self in (OutcomeKind.AFTER_FAULT, OutcomeKind.MORE_MEMORY)


class Outcome(NamedTuple):
    """The decision."""

    verdict: OutcomeKind
    again: Job | None = None  #: the job as it is to run again; None: it is over


def decide(ended: AttemptResult) -> Outcome:
    """What becomes of the job."""
    if ended.cancelled:
        return Outcome(OutcomeKind.CANCELLED)
    if ended.succeeded:
        return Outcome(OutcomeKind.SUCCEEDED)
    if ended.gpu_fault:
        return Outcome(OutcomeKind.AFTER_FAULT, ended.job)
    if ended.out_of_memory:
        larger = with_more_memory(ended.job, ended.peak_mib, ended.most_mib)
        if larger is not None:
            return Outcome(OutcomeKind.MORE_MEMORY, larger)
    again = next_attempt(ended.job)
    return Outcome(OutcomeKind.FAILED if again is None else OutcomeKind.RETRY, again)


def next_attempt(job: Job) -> Job | None:
    """The failed job as it runs again, or None if this was its last attempt."""
    if job.tries != 0 and job.attempt >= job.tries:
        return None
    return job._replace(attempt=job.attempt + 1)


def with_more_memory(job: Job, peak_mib: int | None, most_mib: int) -> Job | None:
    """The job with half as much memory again, or alone on its GPUs; None if it was alone.

    Args:
        peak_mib: what it was seen to have, if that was measured.
        most_mib: what its GPUs have for jobs.
    """
    if job.memory_mib is None:
        return None
    wanted_mib = math.ceil(max(job.memory_mib, peak_mib or 0) * _FACTOR)
    if wanted_mib < most_mib:
        return job._replace(memory_mib=wanted_mib)
    return job._replace(memory_mib=None, units=GPU_UNITS)
