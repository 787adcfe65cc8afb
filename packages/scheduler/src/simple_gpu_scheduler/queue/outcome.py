"""What becomes of a job whose attempt is over."""

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
    """What was seen of an attempt beside its exit status."""

    stopped: str = ""  #: why we have stopped it; empty if it ended by itself
    peak_vram_mib: int | None = None  #: most seen on one GPU; None: not measured
    remarks: tuple[str, ...] = ()  #: what its submitter should know
    gpu_fault: str = ""  #: why one of its GPUs can't be used any more
    out_of_memory: bool = False  #: its last words say that GPU memory was lacking
    most_mib: int = 0  #: the most that such a job can have on each of its GPUs


#: What is written down of a job that isn't to run again.
_STATES = {
    OutcomeKind.SUCCEEDED: SUCCEEDED,
    OutcomeKind.FAILED: FAILED,
    OutcomeKind.CANCELLED: CANCELLED,
}


def end_of(
    entry: QueuedJob, attempt: Attempt, job: Job, note: JournalEntry, seen: Observation
) -> AttemptEnd:
    """The end that a launcher has written down.

    Args:
        job: as it was started.
    """
    if note.what == "broken":
        reason = f"can't be started: {note.reason}"
        return AttemptEnd(entry.id, attempt.number, FAILED, note.at_s, reason=reason)
    if note.what == "unbegun":
        state = CANCELLED if seen.stopped == CANCELLED else QUEUED
        reason = seen.stopped or f"can't be started now: {note.reason}"
        return AttemptEnd(
            entry.id, attempt.number, state, note.at_s, reason=reason, excused=state == QUEUED
        )
    outcome = decide(_ended_attempt(entry, attempt, job, note, seen))
    more = outcome.again if outcome.verdict is OutcomeKind.MORE_MEMORY else None
    why = (seen.stopped, seen.gpu_fault, "out of GPU memory" if more else "", *seen.remarks)
    return AttemptEnd(
        entry.id,
        attempt.number,
        _STATES.get(outcome.verdict, QUEUED),
        note.at_s,
        note.exit_code,
        note.signal,
        "; ".join(one for one in why if one),
        seen.peak_vram_mib,
        note.user_s,
        note.system_s,
        note.max_rss_mib,
        outcome.verdict.is_excused,
        None if more is None else ResourceRequest(more.memory_mib, more.units),
    )


def lost(
    entry: QueuedJob, attempt: Attempt, ended_s: float, reason: str, stopped: str = ""
) -> AttemptEnd:
    """The end of an attempt of which nobody knows how it ended, or only that we wanted it to."""
    if stopped == CANCELLED:
        return AttemptEnd(attempt.job, attempt.number, CANCELLED, ended_s, reason=stopped)
    state = QUEUED if entry.requeue else LOST
    return AttemptEnd(
        attempt.job, attempt.number, state, ended_s, reason=reason, excused=entry.requeue
    )


def _ended_attempt(
    entry: QueuedJob, attempt: Attempt, job: Job, note: JournalEntry, seen: Observation
) -> AttemptResult:
    return AttemptResult(
        job._replace(tries=entry.tries, attempt=attempt.number),
        succeeded=note.exit_code == 0 and not seen.stopped,
        cancelled=seen.stopped == CANCELLED,
        gpu_fault=seen.gpu_fault,
        out_of_memory=seen.out_of_memory,
        peak_mib=seen.peak_vram_mib,
        most_mib=seen.most_mib,
    )
