"""What becomes of a job whose attempt is over."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.queue.journal import Note
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    FAILED,
    LOST,
    QUEUED,
    SUCCEEDED,
    Ask,
    Attempt,
    End,
    Entry,
)

#: Why we stop a job, beside `CANCELLED`.
TIMED_OUT = "timed out"


class Seen(NamedTuple):
    """What was seen of an attempt beside its exit status."""

    stopped: str = ""  #: why we have stopped it; empty if it ended by itself
    peak_vram_mib: int | None = None  #: most seen on one GPU; None: not measured
    remarks: tuple[str, ...] = ()  #: what its submitter should know
    fault: str = ""  #: of its GPU, if it has failed
    more: Ask | None = None  #: it ran out of GPU memory, and is to run again with this


def end_of(entry: Entry, attempt: Attempt, note: Note, seen: Seen) -> End:
    """The end that a launcher has written down."""
    if note.what == "broken":
        reason = f"can't be started: {note.reason}"
        return End(entry.id, attempt.number, FAILED, note.at_s, reason=reason)
    if note.what == "unbegun":
        state = CANCELLED if seen.stopped == CANCELLED else QUEUED
        reason = seen.stopped or f"can't be started now: {note.reason}"
        return End(
            entry.id, attempt.number, state, note.at_s, reason=reason, excused=state == QUEUED
        )
    excused = bool(seen.fault or seen.more) and _has_failed(note, seen)
    state = QUEUED if excused else _state(entry, attempt, note, seen)
    why = (seen.stopped, seen.fault, "out of GPU memory" if seen.more else "", *seen.remarks)
    return End(
        entry.id,
        attempt.number,
        state,
        note.at_s,
        note.exit_code,
        note.signal,
        "; ".join(one for one in why if one),
        seen.peak_vram_mib,
        note.user_s,
        note.system_s,
        note.max_rss_mib,
        excused,
        seen.more if excused and not seen.fault else None,
    )


def lost(entry: Entry, attempt: Attempt, ended_s: float, reason: str, stopped: str = "") -> End:
    """The end of an attempt of which nobody knows how it ended, or only that we wanted it to."""
    if stopped == CANCELLED:
        return End(attempt.job, attempt.number, CANCELLED, ended_s, reason=stopped)
    state = QUEUED if entry.requeue else LOST
    return End(attempt.job, attempt.number, state, ended_s, reason=reason, excused=entry.requeue)


def _has_failed(note: Note, seen: Seen) -> bool:
    """True if it failed by itself."""
    return note.exit_code != 0 and not seen.stopped


def _state(entry: Entry, attempt: Attempt, note: Note, seen: Seen) -> str:
    if seen.stopped == CANCELLED:
        return CANCELLED
    if note.exit_code == 0 and not seen.stopped:
        return SUCCEEDED
    again = entry.tries == 0 or attempt.number < entry.tries
    return QUEUED if again else FAILED
