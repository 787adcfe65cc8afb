"""Dependencies between jobs in the queue's file, and how many each job still waits for."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Sequence

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.edits import Needs, cycle
from simple_gpu_scheduler.queue.records import CANCELLED, ENDED_STATES, FAILED, LOST, SUCCEEDED


def count_blockers(database: sqlite3.Connection, jobs: Sequence[int]) -> None:
    """Set `blockers` anew for these jobs and for the jobs that depend on them."""
    database.execute(
        """
        UPDATE jobs SET blockers = (
            SELECT count(*) FROM needs JOIN jobs AS other ON other.id = needs.needed
            WHERE needs.job = jobs.id AND other.state IN ('queued', 'held', 'running')
        )
        WHERE state IN ('queued', 'held') AND id IN (
            SELECT value FROM json_each(:jobs) UNION
            SELECT job FROM needs WHERE needed IN (SELECT value FROM json_each(:jobs))
        )
        """,
        {"jobs": json.dumps(list(jobs))},
    )


def queue_again(database: sqlite3.Connection, jobs: Sequence[int]) -> list[int]:
    """Queue jobs again that ended without success; returns them.

    They wait for their dependencies that are still open, but not for those that failed.
    """
    rows = database.execute(
        "UPDATE jobs SET state = 'queued', stop = NULL, reason = '', notified = 0, "
        "ended_s = NULL, exit_code = NULL, signal = NULL WHERE state IN "
        "('failed', 'cancelled', 'lost') AND id IN (SELECT value FROM json_each(?)) RETURNING id",
        (json.dumps(list(jobs)),),
    ).fetchall()
    queued = sorted(job for (job,) in rows)
    count_blockers(database, queued)
    return queued


def set_needs(database: sqlite3.Connection, jobs: Sequence[int], needs: Needs) -> None:
    """Replace the dependencies of jobs.

    Raises:
        UsageError: a job that they are to depend on doesn't exist, has ended without the success
            that they need, or depends on one of them itself.
    """
    needs_success = dict.fromkeys(needs.after_any, False) | dict.fromkeys(needs.after, True)
    for needed, success in needs_success.items():
        _check_needed(database, needed, success=success)
    database.executemany("DELETE FROM needs WHERE job = ?", [(job,) for job in jobs])
    database.executemany(
        "INSERT INTO needs VALUES (?, ?, ?)",
        [(job, needed, success) for job in jobs for needed, success in needs_success.items()],
    )
    for job in jobs:
        path = cycle(job, lambda other: _needed_by(database, other))
        if path:
            waits = ", ".join(f"{a} for {b}" for a, b in itertools.pairwise(path))
            raise UsageError(f"jobs would wait for each other for ever: {waits}")
    count_blockers(database, jobs)


def _check_needed(database: sqlite3.Connection, job: int, *, success: bool) -> None:
    row = database.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
    if row is None:
        raise UsageError(no_dependency(database, job, success=success))
    if success and row[0] in ENDED_STATES and row[0] != SUCCEEDED:
        raise UsageError(f"--after names job {job}, which {_VERBS[row[0]]}")


def _needed_by(database: sqlite3.Connection, job: int) -> list[int]:
    rows = database.execute("SELECT needed FROM needs WHERE job = ?", (job,)).fetchall()
    return [needed for (needed,) in rows]


def no_job(database: sqlite3.Connection, job: int) -> str:
    """Say that there is no job with this number, and whether it was removed."""
    return f"there is no job {job}" + (
        " any more (sgs clean --finished has removed it)" if _is_removed(database, job) else ""
    )


def no_dependency(database: sqlite3.Connection, job: int, *, success: bool) -> str:
    """Say that there is no job with this number, on whose success or end another is to depend."""
    why = "sgs clean --finished has removed" if _is_removed(database, job) else "does not exist"
    option = "--after" if success else "--after-any"
    return f"{option} names job {job}, which {why}; see sgs status --all"


def _is_removed(database: sqlite3.Connection, job: int) -> bool:
    row = database.execute(
        "SELECT 1 FROM sqlite_sequence WHERE name = 'jobs' AND ? BETWEEN 1 AND seq", (job,)
    ).fetchone()
    return row is not None


#: What a job did when it ended in each state but succeeded.
_VERBS = {FAILED: "failed", CANCELLED: "was cancelled", LOST: "was lost"}


def why_broken(needed: int, state: str) -> str:
    """Say why a job is cancelled that depended on the success of another one."""
    return f"job {needed}, which it depends on, {_VERBS[state]}"
