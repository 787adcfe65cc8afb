"""What jobs wait for, in the queue's file; all of it within a transaction."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.edits import Needs, cycle
from simple_gpu_scheduler.queue.records import ENDED_STATES, SUCCEEDED
from simple_gpu_scheduler.queue.store.dependencies import count_blockers
from simple_gpu_scheduler.queue.store.submission import no_job


def set_needs(database: sqlite3.Connection, jobs: Sequence[int], needs: Needs) -> None:
    """Let jobs wait for these, in the place of those that they have waited for.

    Raises:
        UsageError: one isn't there, or could never let them start, or waits for one of them.
    """
    wanted = dict.fromkeys(needs.after_any, False) | dict.fromkeys(needs.after, True)
    for needed, success in wanted.items():
        _check_needed(database, needed, success=success)
    database.executemany("DELETE FROM needs WHERE job = ?", [(job,) for job in jobs])
    database.executemany(
        "INSERT INTO needs VALUES (?, ?, ?)",
        [(job, needed, success) for job in jobs for needed, success in wanted.items()],
    )
    for job in jobs:
        found = cycle(job, lambda one: _needed_by(database, one))
        if found:
            waits = ", ".join(f"{a} for {b}" for a, b in itertools.pairwise(found))
            raise UsageError(f"jobs would wait for each other for ever: {waits}")
    count_blockers(database, jobs)


def _check_needed(database: sqlite3.Connection, job: int, *, success: bool) -> None:
    row = database.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
    if row is None:
        raise UsageError(f"{no_job(database, job)}, which is to be waited for")
    if success and row[0] in ENDED_STATES and row[0] != SUCCEEDED:
        raise UsageError(f"job {job}, which is to be waited for, is {row[0]}")


def _needed_by(database: sqlite3.Connection, job: int) -> list[int]:
    rows = database.execute("SELECT needed FROM needs WHERE job = ?", (job,)).fetchall()
    return [needed for (needed,) in rows]
