"""The outcome of an attempt: the job is over, or runs again. Pipe and queue decide alike."""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job

#: A job that ran out of GPU memory asks for this many times what it had.
_FACTOR = 1.5


class AttemptResult(NamedTuple):
    """What is known of an attempt that has ended."""

    job: Job  #: as it was started
    succeeded: bool  #: the command ended by itself, with status 0
    cancelled: bool = False  #: a user or the scheduler ended it
    gpu_fault: str = ""  #: why one of its GPUs can't be used any more
    out_of_memory: bool = False  #: the end of its output says that GPU memory was lacking
    peak_mib: int | None = None  #: the most memory that it had on one GPU; None: not measured
    most_mib: int = 0  #: the most memory that a job of as many GPUs can have on each


class OutcomeKind(enum.Enum):
    """What becomes of the job."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRY = "retry"  #: it failed and has attempts left
    AFTER_FAULT = "after a fault"  #: its GPU failed, so it runs again
    MORE_MEMORY = "more memory"  #: it ran out of GPU memory, so it runs again with more

    @property
    def is_excused(self) -> bool:
        """True if the attempt doesn't count as one of the job's tries."""
        return self in (OutcomeKind.AFTER_FAULT, OutcomeKind.MORE_MEMORY)


class Outcome(NamedTuple):
    """What becomes of the job, and how it runs again."""

    kind: OutcomeKind
    again: Job | None = None  #: the job for its next attempt; None: it is over


def decide(result: AttemptResult) -> Outcome:
    """Decide what becomes of the job."""
    if result.cancelled:
        return Outcome(OutcomeKind.CANCELLED)
    if result.succeeded:
        return Outcome(OutcomeKind.SUCCEEDED)
    if result.gpu_fault:
        return Outcome(OutcomeKind.AFTER_FAULT, result.job)
    if result.out_of_memory:
        larger = with_more_memory(result.job, result.peak_mib, result.most_mib)
        if larger is not None:
            return Outcome(OutcomeKind.MORE_MEMORY, larger)
    again = next_attempt(result.job)
    return Outcome(OutcomeKind.FAILED if again is None else OutcomeKind.RETRY, again)


def next_attempt(job: Job) -> Job | None:
    """The failed job for its next attempt; None if this was the last one."""
    if job.tries != 0 and job.attempt >= job.tries:
        return None
    return job._replace(attempt=job.attempt + 1)


def with_more_memory(job: Job, peak_mib: int | None, most_mib: int) -> Job | None:
    """The job with half as much memory again, or alone on its GPUs; None if it was alone.

    Args:
        peak_mib: the most memory that it had on one GPU; None: not measured.
        most_mib: the most memory that it can have on each of its GPUs.
    """
    if job.memory_mib is None:
        return None
    next_mib = math.ceil(max(job.memory_mib, peak_mib or 0) * _FACTOR)
    if next_mib < most_mib:
        return job._replace(memory_mib=next_mib)
    return job._replace(memory_mib=None, units=GPU_UNITS)
