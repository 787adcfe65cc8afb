"""Records the starts and ends of attempts, and releases the jobs that depend on ended ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    ENDED_STATES,
    SUCCEEDED,
    Attempt,
    AttemptEnd,
)
from simple_gpu_scheduler.queue.store.dependencies import why_broken
from simple_gpu_scheduler.queue.store.rows import join_names
from simple_gpu_scheduler.queue.store.schema import IS_OPEN


def start_attempts(database: sqlite3.Connection, attempts: Sequence[Attempt]) -> None:
    """Record attempts, before a launcher is ordered to start them."""
    database.executemany(
        "INSERT INTO attempts (job, number, launcher, gpu_names, started_s, boot, memory_mib) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (a.job, a.number, a.launcher, join_names(a.gpu_names), a.started_s, a.boot,
             a.memory_mib)
            for a in attempts
        ],
    )  # fmt: skip
    database.executemany(
        "UPDATE jobs SET state = 'running', attempt = ?, started_s = ?, ended_s = NULL, "
        "exit_code = NULL, signal = NULL, reason = '', gpu_names = ? WHERE id = ?",
        [(a.number, a.started_s, join_names(a.gpu_names), a.job) for a in attempts],
    )


def record_processes(database: sqlite3.Connection, attempts: Iterable[Attempt]) -> None:
    """Record the processes of attempts that run."""
    database.executemany(
        "UPDATE attempts SET pid = ?, start_ticks = ? WHERE job = ? AND number = ?",
        [(a.pid, a.start_ticks, a.job, a.number) for a in attempts],
    )


def remove_last_attempts(database: sqlite3.Connection, jobs: Sequence[int]) -> None:
    """Queue jobs again whose last attempt was recorded, but never began."""
    for job in jobs:
        database.execute(
            "DELETE FROM attempts WHERE job = ? AND number = "
            "(SELECT attempt FROM jobs WHERE id = ?)",
            (job, job),
        )
        database.execute(
            "UPDATE jobs SET state = 'queued', attempt = attempt - 1, started_s = NULL, "
            "gpu_names = '' WHERE id = ?",
            (job,),
        )


def end_attempt(database: sqlite3.Connection, end: AttemptEnd) -> bool:
    """Record the end of an attempt. The number 0 ends a job that was never started.

    Returns:
        True if jobs may start now that could not before: this one again, or its dependents.
    """
    values = (end.ended_s, end.exit_code, end.signal, end.reason, end.peak_vram_mib)
    if end.attempt:
        database.execute(
            "UPDATE attempts SET ended_s = ?, exit_code = ?, signal = ?, reason = ?, "
            "peak_vram_mib = ?, user_s = ?, system_s = ?, max_rss_mib = ? "
            "WHERE job = ? AND number = ? AND ended_s IS NULL",
            (*values, end.user_s, end.system_s, end.max_rss_mib, end.job, end.attempt),
        )
    updated = database.execute(
        "UPDATE jobs SET state = ?, ended_s = ?, exit_code = ?, signal = ?, reason = ?, "
        f"peak_vram_mib = ?, stop = NULL WHERE id = ? AND {IS_OPEN}",
        (end.state, *values, end.job),
    )
    if not updated.rowcount:  # the job had ended already, and its dependents know
        return False
    if end.excused:
        database.execute(
            "UPDATE jobs SET tries = tries + 1 WHERE id = ? AND tries > 0", (end.job,)
        )
    if end.request is not None:
        database.execute(
            "UPDATE jobs SET memory_mib = ?, slots = ?, auto_memory = 0 WHERE id = ?",
            (end.request.memory_mib, GPU_UNITS // end.request.units, end.job),
        )
    return end.state not in ENDED_STATES or _release_dependents(database, end)


def _release_dependents(database: sqlite3.Connection, end: AttemptEnd) -> bool:
    """Release the jobs that wait for an ended job, or cancel those that needed its success."""
    dependents = database.execute(
        "SELECT n.job, n.success FROM needs n JOIN jobs j ON j.id = n.job "
        "WHERE n.needed = ? AND j.state IN ('queued', 'held')",
        (end.job,),
    ).fetchall()
    for job, needs_success in dependents:
        if needs_success and end.state != SUCCEEDED:
            reason = why_broken(end.job, end.state)
            end_attempt(database, AttemptEnd(job, 0, CANCELLED, end.ended_s, reason=reason))
        else:
            database.execute("UPDATE jobs SET blockers = blockers - 1 WHERE id = ?", (job,))
    return bool(dependents)
