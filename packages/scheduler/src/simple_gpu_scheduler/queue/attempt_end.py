"""Decides what becomes of a job when an attempt has ended."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.outcome import AttemptResult, OutcomeKind, decide
from simple_gpu_scheduler.queue.journal import JournalEntry
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    FAILED,
    LOST,
    QUEUED,
    SUCCEEDED,
    Attempt,
    AttemptEnd,
    QueuedJob,
    ResourceRequest,
)

#: Why we stop a job, beside `CANCELLED`.
TIMED_OUT = "timed out"


class Observation(NamedTuple):
    """What the server observed of an attempt, beside its exit status."""

    stopped: str = ""  #: why we have stopped it; empty if it ended by itself
    peak_vram_mib: int | None = None  #: most GPU memory used on one GPU; None: not measured
    remarks: tuple[str, ...] = ()  #: what its submitter should know
    gpu_fault: str = ""  #: why one of its GPUs can't be used any more
    out_of_memory: bool = False  #: the end of its log says that GPU memory was lacking
    most_mib: int = 0  #: the most memory that such a job can have on each of its GPUs


#: The state of a job that isn't run again.
_STATES = {
    OutcomeKind.SUCCEEDED: SUCCEEDED,
    OutcomeKind.FAILED: FAILED,
    OutcomeKind.CANCELLED: CANCELLED,
}


def end_of(
    job: QueuedJob, attempt: Attempt, planned: Job, entry: JournalEntry, observed: Observation
) -> AttemptEnd:
    """Return the end of an attempt that a launcher has recorded.

    Args:
        planned: the job as it was started.
        entry: the launcher's record of the end.
    """
    if entry.kind == "broken":
        reason = f"can't be started: {entry.reason}"
        return AttemptEnd(job.id, attempt.number, FAILED, entry.at_s, reason=reason)
    if entry.kind == "unbegun":
        state = CANCELLED if observed.stopped == CANCELLED else QUEUED
        reason = observed.stopped or f"can't be started now: {entry.reason}"
        return AttemptEnd(
            job.id, attempt.number, state, entry.at_s, reason=reason, excused=state == QUEUED
        )
    outcome = decide(_result(job, attempt, planned, entry, observed))
    more = outcome.again if outcome.kind is OutcomeKind.MORE_MEMORY else None
    out_of_memory = "out of GPU memory" if more else ""
    reasons = (observed.stopped, observed.gpu_fault, out_of_memory, *observed.remarks)
    return AttemptEnd(
        job.id,
        attempt.number,
        _STATES.get(outcome.kind, QUEUED),
        entry.at_s,
        entry.exit_code,
        entry.signal,
        "; ".join(reason for reason in reasons if reason),
        observed.peak_vram_mib,
        entry.user_s,
        entry.system_s,
        entry.max_rss_mib,
        outcome.kind.is_excused,
        None if more is None else ResourceRequest(more.memory_mib, more.units),
    )


def lost(
    job: QueuedJob, attempt: Attempt, ended_s: float, reason: str, stopped: str = ""
) -> AttemptEnd:
    """Return the end of an attempt whose exit status is unknown; `stopped` says if we ended it."""
    if stopped == CANCELLED:
        return AttemptEnd(attempt.job, attempt.number, CANCELLED, ended_s, reason=stopped)
    state = QUEUED if job.requeue else LOST
    return AttemptEnd(
        attempt.job, attempt.number, state, ended_s, reason=reason, excused=job.requeue
    )


def _result(
    job: QueuedJob, attempt: Attempt, planned: Job, entry: JournalEntry, observed: Observation
) -> AttemptResult:
    return AttemptResult(
        planned._replace(tries=job.tries, attempt=attempt.number),
        succeeded=entry.exit_code == 0 and not observed.stopped,
        cancelled=observed.stopped == CANCELLED,
        gpu_fault=observed.gpu_fault,
        out_of_memory=observed.out_of_memory,
        peak_mib=observed.peak_vram_mib,
        most_mib=observed.most_mib,
    )
