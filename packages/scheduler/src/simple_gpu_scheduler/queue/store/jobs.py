"""The jobs in the queue's file: submit, list, start, end, cancel.

Submitters write to the file themselves. The server reads only the first jobs that are ready, so
that its cost does not grow with the queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    HELD,
    QUEUED,
    RUNNING,
    Attempt,
    AttemptEnd,
    Context,
    JobRequest,
    QueuedJob,
    Submitted,
)
from simple_gpu_scheduler.queue.store import attempts as attempt_rows
from simple_gpu_scheduler.queue.store import rows
from simple_gpu_scheduler.queue.store.contexts import decoded
from simple_gpu_scheduler.queue.store.database import QueueFile
from simple_gpu_scheduler.queue.store.dependencies import queue_again
from simple_gpu_scheduler.queue.store.filters import condition
from simple_gpu_scheduler.queue.store.schema import IS_ENDED, IS_OPEN
from simple_gpu_scheduler.queue.store.submission import Submission
from simple_gpu_scheduler.system.failpoints import step

#: The setting that says why the server can't start any process; empty if it can.
LACK = "lack"

#: Orders of jobs: by number, by turn (for jobs that wait), and the last ones first.
ORDERS = {
    "id": "id",
    "latest": "id DESC",
    "turn": "priority DESC, id",
}


class QueueStore:
    """The jobs of one queue."""

    def __init__(self, path: str, *, lazy: bool = False) -> None:
        """Open the file; create it if there is none. `QueueFile` explains `lazy`.

        Raises:
            SgsError: it can't be used.
        """
        self._file = QueueFile(path, lazy=lazy)
        self._database = self._file.database

    @property
    def file(self) -> QueueFile:
        """The file, for other queries."""
        return self._file

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def version(self) -> int:
        """A number that changes whenever somebody else has written."""
        return self._file.version()

    def sync(self) -> None:
        """Put everything written so far on the disk; see `QueueFile`."""
        self._file.sync()

    def transaction(self) -> AbstractContextManager[object]:
        """Make all calls within it one transaction."""
        return self._file.transaction()

    # what users do

    def submit(
        self, context: Context, requests: Iterable[JobRequest], now_s: float
    ) -> list[Submitted]:
        """Add jobs, all or none. When this returns, they are on the disk.

        Raises:
            UsageError: a job that one of them depends on doesn't exist.
            SgsError: the file can't be written; nothing was added.
        """
        with self._file.transaction() as database:
            submission = Submission(database, context, now_s)
            submitted = [submission.add(request) for request in requests]
            step("accepting")
        step("accepted")
        return submitted

    def cancel(self, jobs: Sequence[int], now_s: float) -> list[QueuedJob]:
        """End jobs that wait, and ask the server to stop those that run.

        Jobs that need the success of one of them are cancelled as well.

        Returns:
            The jobs among these that were open.
        """
        with self._file.transaction():
            open_jobs = self._entries(
                "WHERE id IN (SELECT value FROM json_each(?)) AND state IN "
                "('queued', 'held', 'running')",
                (json.dumps(list(jobs)),),
            )
            for job in open_jobs:
                if job.state == RUNNING:
                    self._database.execute(
                        "UPDATE jobs SET stop = 'cancelled' WHERE id = ?", (job.id,)
                    )
                else:
                    end = AttemptEnd(job.id, job.attempt, CANCELLED, now_s)
                    attempt_rows.end_attempt(self._database, end)
        return open_jobs

    def hold(self, jobs: Sequence[int], *, held: bool) -> list[int]:
        """Hold queued jobs, or release held ones; returns the jobs that changed."""
        before, after = (QUEUED, HELD) if held else (HELD, QUEUED)
        with self._file.transaction():
            changed = self._file.all(
                "UPDATE jobs SET state = ? WHERE state = ? AND id IN "
                "(SELECT value FROM json_each(?)) RETURNING id",
                (after, before, json.dumps(list(jobs))),
            )
        return sorted(job for (job,) in changed)

    def retry(self, jobs: Sequence[int]) -> list[int]:
        """Queue jobs again that ended without success; see `queue_again`."""
        with self._file.transaction() as database:
            return queue_again(database, jobs)

    # what anybody reads

    def entry(self, job: int) -> QueuedJob | None:
        """Return the job with that number; None if there is none."""
        return next(iter(self._entries("WHERE id = ?", (job,))), None)

    def entries(
        self,
        *,
        states: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
        name: str | Sequence[str] | None = None,
        jobs: Sequence[int] | None = None,
        most: int = -1,
        order: str = "id",
    ) -> list[QueuedJob]:
        """Return jobs with one of these states, groups, names and numbers, in one of `ORDERS`."""
        where, values = condition(states, group, name, jobs)
        return self._entries(f"WHERE {where} ORDER BY {ORDERS[order]} LIMIT ?", (*values, most))

    def counts(
        self,
        *,
        states: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
        name: str | Sequence[str] | None = None,
    ) -> dict[str, int]:
        """Return the number of jobs in each state that has some."""
        where, values = condition(states, group, name, None)
        query = "SELECT state, count(*) FROM jobs WHERE {} AND {} GROUP BY state"
        halves = (query.format(half, where) for half in (IS_OPEN, IS_ENDED))  # an index for each
        return dict(self._file.all(" UNION ALL ".join(halves), (*values, *values)))

    def context(self, number: int) -> Context:
        """Return the context with that number."""
        (content,) = self._file.one("SELECT content FROM contexts WHERE id = ?", (number,))
        return decoded(content)

    def setting(self, name: str) -> str:
        """Return the value of a setting; empty if it was never set."""
        row = self._file.all("SELECT value FROM settings WHERE name = ?", (name,))
        return str(row[0][0]) if row else ""

    def set(self, name: str, value: str) -> None:
        """Write a setting."""
        with self._file.transaction():
            self._database.execute(
                "INSERT INTO settings VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    # what the server plans on

    def release_due(self, now_s: float) -> None:
        """Make jobs ready whose start time has come."""
        due = "state = 'queued' AND later = 1 AND not_before_s <= ?"
        if self._file.all(
            f"SELECT 1 FROM jobs INDEXED BY jobs_later WHERE {due} LIMIT 1", (now_s,)
        ):
            with self._file.transaction() as database:
                database.execute(f"UPDATE jobs SET later = 0 WHERE {due}", (now_s,))

    def ready(self, now_s: float, most: int) -> list[QueuedJob]:
        """Return the first jobs that wait for GPUs alone, in the order of their turn."""
        ready = self._entries(
            "INDEXED BY jobs_ready WHERE state = 'queued' AND blockers = 0 AND later = 0 "
            "ORDER BY priority DESC, id LIMIT ?",
            (most,),
        )
        due = self._entries(
            "INDEXED BY jobs_later WHERE state = 'queued' AND later = 1 AND blockers = 0 "
            "AND not_before_s <= ?",
            (now_s,),
        )
        return sorted((*ready, *due), key=lambda job: (-job.priority, job.id))[:most]

    def next_time_s(self) -> float | None:
        """Return the earliest start time of a job that starts later, on the wall clock."""
        (at_s,) = self._file.one(
            "SELECT min(not_before_s) FROM jobs INDEXED BY jobs_later "
            "WHERE state = 'queued' AND later = 1"
        )
        return None if at_s is None else float(at_s)

    def running(self) -> list[tuple[Attempt, str | None]]:
        """Return the attempts without a recorded end, and why each is to be stopped, if it is."""
        found = self._file.all(
            f"SELECT j.stop, {rows.RUNNING_COLUMNS} FROM jobs j "
            "JOIN attempts a ON a.job = j.id AND a.number = j.attempt "
            f"WHERE {IS_OPEN} AND j.state = 'running'"
        )
        return [(rows.running(row), stop) for stop, *row in found]

    def to_be_stopped(self) -> list[tuple[int, str]]:
        """Return running jobs that are to be stopped, and why."""
        found = self._file.all(
            f"SELECT id, stop FROM jobs WHERE {IS_OPEN} AND state = 'running' AND stop IS NOT NULL"
        )
        return [(job, why) for job, why in found]

    def to_notify(self) -> list[QueuedJob]:
        """Return the ended jobs whose notification is still to be sent."""
        return self._entries(
            f"INDEXED BY jobs_to_notify WHERE notify IS NOT NULL AND notified = 0 AND {IS_ENDED}"
        )

    # what the server writes

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Record attempts, before a launcher is ordered to start them."""
        with self._file.transaction() as database:
            attempt_rows.start_attempts(database, attempts)

    def record(self, begun: Sequence[Attempt], ends: Sequence[AttemptEnd]) -> bool:
        """Record the processes of attempts, and ends of attempts, in one transaction.

        Returns:
            True if jobs may start now that could not before.
        """
        ended = {(end.job, end.attempt) for end in ends}
        running = [attempt for attempt in begun if (attempt.job, attempt.number) not in ended]
        with self._file.transaction() as database:
            attempt_rows.record_processes(database, running)
            released = [attempt_rows.end_attempt(database, end) for end in ends]
        return any(released)

    def unstart(self, jobs: Sequence[int]) -> None:
        """Queue jobs again whose last attempt was recorded, but never began."""
        with self._file.transaction() as database:
            attempt_rows.remove_last_attempts(database, jobs)

    def stop(self, job: int, why: str) -> None:
        """Record why a running job is being stopped, for the server that will see its end."""
        with self._file.transaction():
            self._database.execute("UPDATE jobs SET stop = ? WHERE id = ?", (why, job))

    def mark_notified(self, jobs: Sequence[int]) -> None:
        """Record that the notifications of these jobs were sent."""
        with self._file.transaction():
            self._database.executemany(
                "UPDATE jobs SET notified = 1 WHERE id = ?", [(job,) for job in jobs]
            )

    def _entries(self, rest: str, values: Sequence[Any] = ()) -> list[QueuedJob]:
        found = self._file.all(f"SELECT {rows.JOB_COLUMNS} FROM jobs {rest}", values)
        return [rows.job(row) for row in found]
