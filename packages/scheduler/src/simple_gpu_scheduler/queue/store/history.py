"""Reads past attempts, dependencies and turns from the queue's file."""

from __future__ import annotations

from typing import Any

from simple_gpu_scheduler.queue.attempt_history import AttemptRecord
from simple_gpu_scheduler.queue.store import rows
from simple_gpu_scheduler.queue.store.database import QueueFile

#: Durations are forecast from so many of the last successes.
_MOST_LEARNED = 2000

_RUNS = f"SELECT {rows.RUN_COLUMNS} FROM attempts a JOIN jobs j ON j.id = a.job"


def runs_of(file: QueueFile, job: int) -> list[AttemptRecord]:
    """Return all attempts of a job, the first one first."""
    return _runs(file, "WHERE a.job = ? ORDER BY a.number", job)


def runs_since(file: QueueFile, since_s: float, group: str | None = None) -> list[AttemptRecord]:
    """Return all attempts that ran since then, or run now, in the order of their jobs."""
    where = "WHERE (a.ended_s IS NULL OR a.ended_s >= ?)"
    if group is None:
        return _runs(file, f"{where} ORDER BY a.job, a.number", since_s)
    return _runs(file, f"{where} AND j.group_name = ? ORDER BY a.job, a.number", since_s, group)


def last_successes(file: QueueFile) -> list[tuple[bytes, float]]:
    """Return the commands that succeeded last, and the seconds that each ran."""
    successes = file.all(
        "SELECT j.command, a.ended_s - a.started_s FROM attempts a JOIN jobs j ON j.id = a.job "
        "WHERE a.exit_code = 0 AND a.reason = '' AND a.ended_s IS NOT NULL "
        "ORDER BY a.job DESC, a.number DESC LIMIT ?",
        (_MOST_LEARNED,),
    )
    return [(command, max(0.0, runtime_s)) for command, runtime_s in successes]


def last_ends_s(file: QueueFile, most: int) -> list[float]:
    """Return the end times of the last attempts that have ended, sorted."""
    ends = file.all(
        "SELECT ended_s FROM attempts WHERE ended_s IS NOT NULL "
        "ORDER BY job DESC, number DESC LIMIT ?",
        (most,),
    )
    return sorted(ended_s for (ended_s,) in ends)


def needs_of(file: QueueFile, job: int) -> list[tuple[int, bool]]:
    """Return the open jobs that a job waits for, and whether each must succeed."""
    needs = file.all(
        "SELECT n.needed, n.success FROM needs n JOIN jobs j ON j.id = n.needed "
        "WHERE n.job = ? AND j.state IN ('queued', 'held', 'running') ORDER BY n.needed",
        (job,),
    )
    return [(needed, bool(success)) for needed, success in needs]


def ready_before(file: QueueFile, job: int, priority: int, now_s: float) -> int:
    """Count the jobs that wait for GPUs alone and whose turn comes before this job's."""
    (number,) = file.one(
        "SELECT count(*) FROM jobs WHERE state = 'queued' AND blockers = 0 "
        "AND (not_before_s IS NULL OR not_before_s <= ?) "
        "AND (priority > ? OR (priority = ? AND id < ?))",
        (now_s, priority, priority, job),
    )
    return int(number)


def _runs(file: QueueFile, rest: str, *values: Any) -> list[AttemptRecord]:
    return [rows.run(row) for row in file.all(f"{_RUNS} {rest}", values)]
