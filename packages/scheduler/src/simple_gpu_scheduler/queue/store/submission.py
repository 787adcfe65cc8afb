"""Writes submitted jobs to the queue's file."""

from __future__ import annotations

import sqlite3

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    HELD,
    LOST,
    QUEUED,
    SUCCEEDED,
    Context,
    JobRequest,
    Submitted,
)
from simple_gpu_scheduler.queue.store.contexts import context_number
from simple_gpu_scheduler.queue.store.dependencies import (
    no_dependency,
    queue_again,
    why_broken,
)

_INSERT = """
    INSERT INTO jobs (state, command, context, gpus, slots, memory_mib, auto_memory, priority,
        blockers, not_before_s, timeout_s, tries, name, group_name, key, submitted_s, ended_s,
        reason, notify, snapshot, requeue, kill_leftovers, later)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Submission:
    """Adds jobs with the same context, within one transaction."""

    def __init__(self, database: sqlite3.Connection, context: Context, now_s: float) -> None:
        self._database = database
        self._context = context_number(database, context)
        self._now_s = now_s

    def add(self, request: JobRequest) -> Submitted:
        """Add a job. If there is a job with its key, keep that one, or queue it again.

        Raises:
            UsageError: a job that it depends on doesn't exist.
        """
        if request.key is not None:
            same_key = self._database.execute(
                "SELECT id, state FROM jobs WHERE key = ? ORDER BY id DESC LIMIT 1", (request.key,)
            ).fetchone()
            if same_key is not None:
                return self._reuse(*same_key, retry=request.retry_failed)
        needs = dict.fromkeys(request.after_any, False) | dict.fromkeys(request.after, True)
        blockers, broken = self._blockers(needs)
        state = CANCELLED if broken else HELD if request.held else QUEUED
        cursor = self._database.execute(
            _INSERT,
            (
                state, request.command, self._context, request.gpus, GPU_UNITS // request.units,
                request.memory_mib, request.auto_memory, request.priority, blockers,
                request.not_before_s, request.timeout_s, request.tries, request.name,
                request.group, request.key, self._now_s, self._now_s if broken else None, broken,
                request.notify, request.snapshot, request.requeue, request.kill_leftovers,
                request.not_before_s is not None,
            ),
        )  # fmt: skip
        job = int(cursor.lastrowid or 0)
        for needed, success in needs.items():
            self._database.execute("INSERT INTO needs VALUES (?, ?, ?)", (job, needed, success))
        return Submitted(job, new=True, state=state)

    def _reuse(self, job: int, state: str, *, retry: bool) -> Submitted:
        if not retry or state not in (FAILED, CANCELLED, LOST):
            return Submitted(job, new=False, state=state)
        queue_again(self._database, [job])
        return Submitted(job, new=False, state=QUEUED, retried=True)

    def _blockers(self, needs: dict[int, bool]) -> tuple[int, str]:
        """Count the dependencies that are open, and say why the job can never start, if so.

        Args:
            needs: by each job that is needed: whether it must succeed.
        """
        blockers = 0
        for needed, success in needs.items():
            row = self._database.execute(
                "SELECT state FROM jobs WHERE id = ?", (needed,)
            ).fetchone()
            if row is None:
                raise UsageError(no_dependency(self._database, needed, success=success))
            if row[0] not in ENDED_STATES:
                blockers += 1
            elif success and row[0] != SUCCEEDED:
                return 0, why_broken(needed, row[0])
        return blockers, ""
