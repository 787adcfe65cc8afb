"""What becomes of a job whose attempt is over."""

from __future__ import annotations

from simple_gpu_scheduler.queue.journal import Note
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    FAILED,
    LOST,
    QUEUED,
    SUCCEEDED,
    Attempt,
    End,
    Entry,
)


def end_of(entry: Entry, attempt: Attempt, note: Note, stopped: str) -> End:
    """The end that a launcher has written down.

    Args:
        stopped: why we have stopped the job, if we have; empty if it ended by itself.
    """
    if note.what == "broken":
        reason = f"can't be started: {note.reason}"
        return End(entry.id, attempt.number, FAILED, note.at_s, reason=reason)
    state = _state(entry, attempt, note, stopped)
    end = End(entry.id, attempt.number, state, note.at_s, note.exit_code, note.signal, stopped)
    return end._replace(user_s=note.user_s, system_s=note.system_s, max_rss_mib=note.max_rss_mib)


def lost(attempt: Attempt, ended_s: float, reason: str, stopped: str = "") -> End:
    """The end of an attempt of which nobody knows how it ended, or only that we wanted it to."""
    if stopped == CANCELLED:
        return End(attempt.job, attempt.number, CANCELLED, ended_s, reason=stopped)
    return End(attempt.job, attempt.number, LOST, ended_s, reason=reason)


def _state(entry: Entry, attempt: Attempt, note: Note, stopped: str) -> str:
    if stopped == CANCELLED:
        return CANCELLED
    if note.exit_code == 0 and not stopped:
        return SUCCEEDED
    again = entry.tries == 0 or attempt.number < entry.tries
    return QUEUED if again else FAILED
