"""The queue in a file: what is submitted, what starts, and how it ends.

Whoever submits writes to the file by himself; the server reads what is ready to start, a window at
a time, so that the cost doesn't grow with the queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    ENDED_STATES,
    HELD,
    OPEN_STATES,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    Attempt,
    AttemptEnd,
    Context,
    JobRequest,
    QueuedJob,
    Submitted,
)
from simple_gpu_scheduler.queue.store import rows
from simple_gpu_scheduler.queue.store.contexts import decoded
from simple_gpu_scheduler.queue.store.database import QueueFile
from simple_gpu_scheduler.queue.store.dependencies import queue_again
from simple_gpu_scheduler.queue.store.rows import join_names
from simple_gpu_scheduler.queue.store.schema import IS_ENDED, IS_OPEN
from simple_gpu_scheduler.queue.store.submission import Submission
from simple_gpu_scheduler.system.failpoints import step

#: The setting that says why the server can't start any process; empty if it can.
LACK = "lack"

#: Orders of jobs: by their numbers, by their turns (those that wait), and the last ones first.
ORDERS = {
    "id": "id",
    "latest": "id DESC",
    "turn": "priority DESC, id",
}


class QueueStore:
    """One queue's jobs."""

    def __init__(self, path: str, *, lazy: bool = False) -> None:
        """Open the file; it is created if need be. For `lazy` see `QueueFile`.

        Raises:
            SgsError: it can't be used.
        """
        self._file = QueueFile(path, lazy=lazy)
        self._database = self._file.database

    @property
    def file(self) -> QueueFile:
        """The file, for those who ask it other questions."""
        return self._file

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def version(self) -> int:
        """Another number whenever somebody else has written."""
        return self._file.version()

    def sync(self) -> None:
        """Have all that was written on the disk; see `QueueFile`."""
        self._file.sync()

    def together(self) -> AbstractContextManager[object]:
        """What is done within is one transaction."""
        return self._file.transaction()

    def submit(
        self, context: Context, requests: Iterable[JobRequest], now_s: float
    ) -> list[Submitted]:
        """Add jobs, all or none; when this returns they are on the disk.

        Raises:
            UsageError: a job that is needed isn't there.
            SgsError: the file can't be written; nothing was added.
        """
        with self._file.transaction() as database:
            submission = Submission(database, context, now_s)
            found = [submission.add(one) for one in requests]
            step("accepting")
        step("accepted")
        return found

    def release_due(self, now_s: float) -> None:
        """Jobs whose time has come are ready from now on."""
        due = "state = 'queued' AND later = 1 AND not_before_s <= ?"
        if self._file.all(
            f"SELECT 1 FROM jobs INDEXED BY jobs_later WHERE {due} LIMIT 1", (now_s,)
        ):
            with self._file.transaction() as database:
                database.execute(f"UPDATE jobs SET later = 0 WHERE {due}", (now_s,))

    def ready(self, now_s: float, most: int) -> list[QueuedJob]:
        """The first jobs that nothing but GPUs keeps from starting, in the order of their turn."""
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
        """When the first job that is to start later may start."""
        (at_s,) = self._file.one(
            "SELECT min(not_before_s) FROM jobs INDEXED BY jobs_later "
            "WHERE state = 'queued' AND later = 1"
        )
        return None if at_s is None else float(at_s)

    def entry(self, job: int) -> QueuedJob | None:
        """The job of that number."""
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
        """Jobs of those states, groups, names and numbers only; one of `ORDERS` says the order."""
        where, values = _where(states, group, name, jobs)
        return self._entries(f"WHERE {where} ORDER BY {ORDERS[order]} LIMIT ?", (*values, most))

    def counts(
        self,
        *,
        states: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
        name: str | Sequence[str] | None = None,
    ) -> dict[str, int]:
        """How many jobs are in each state that has some."""
        where, values = _where(states, group, name, None)
        query = "SELECT state, count(*) FROM jobs WHERE {} AND {} GROUP BY state"
        halves = (query.format(half, where) for half in (IS_OPEN, IS_ENDED))  # an index for each
        return dict(self._file.all(" UNION ALL ".join(halves), (*values, *values)))

    def context(self, number: int) -> Context:
        """The context of that number."""
        (content,) = self._file.one("SELECT content FROM contexts WHERE id = ?", (number,))
        return decoded(content)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """These are about to start; written before anybody is told to start them."""
        with self._file.transaction():
            self._database.executemany(
                "INSERT INTO attempts (job, number, launcher, gpu_names, started_s, boot, "
                "memory_mib) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        a.job,
                        a.number,
                        a.launcher,
                        join_names(a.gpu_names),
                        a.started_s,
                        a.boot,
                        a.memory_mib,
                    )
                    for a in attempts
                ],
            )
            self._database.executemany(
                "UPDATE jobs SET state = 'running', attempt = ?, started_s = ?, ended_s = NULL, "
                "exit_code = NULL, signal = NULL, reason = '', gpu_names = ? WHERE id = ?",
                [(a.number, a.started_s, join_names(a.gpu_names), a.job) for a in attempts],
            )

    def went_on(self, begun: Sequence[Attempt], ends: Sequence[AttemptEnd]) -> bool:
        """These attempts run, as these processes; and these are over, at once with all of it.

        Returns:
            True if jobs may start now that could not before.
        """
        over = {(end.job, end.attempt) for end in ends}
        runs = [one for one in begun if (one.job, one.number) not in over]
        with self._file.transaction():
            self._database.executemany(
                "UPDATE attempts SET pid = ?, start_ticks = ? WHERE job = ? AND number = ?",
                [(one.pid, one.start_ticks, one.job, one.number) for one in runs],
            )
            news = [self._end(end) for end in ends]
        return any(news)

    def unstart(self, jobs: Sequence[int]) -> None:
        """These were to be started and never were; they wait again, as if nothing had been."""
        with self._file.transaction():
            for job in jobs:
                self._database.execute(
                    "DELETE FROM attempts WHERE job = ? AND number = "
                    "(SELECT attempt FROM jobs WHERE id = ?)",
                    (job, job),
                )
                self._database.execute(
                    "UPDATE jobs SET state = 'queued', attempt = attempt - 1, started_s = NULL, "
                    "gpu_names = '' WHERE id = ?",
                    (job,),
                )

    def stop(self, job: int, why: str) -> None:
        """Keep why a job that runs is being stopped, whoever sees its end."""
        with self._file.transaction():
            self._database.execute("UPDATE jobs SET stop = ? WHERE id = ?", (why, job))

    def to_notify(self) -> list[QueuedJob]:
        """Jobs that have ended for good, and whose submitter wants to be told."""
        return self._entries(
            f"INDEXED BY jobs_to_notify WHERE notify IS NOT NULL AND notified = 0 AND {IS_ENDED}"
        )

    def notified(self, jobs: Sequence[int]) -> None:
        """Their submitters were told."""
        with self._file.transaction():
            self._database.executemany(
                "UPDATE jobs SET notified = 1 WHERE id = ?", [(job,) for job in jobs]
            )

    def running(self) -> list[tuple[Attempt, str | None]]:
        """The attempts that aren't over, as far as we know, and why each is to be stopped."""
        found = self._file.all(
            f"SELECT j.stop, {rows.RUNNING_COLUMNS} FROM jobs j "
            "JOIN attempts a ON a.job = j.id AND a.number = j.attempt "
            f"WHERE {IS_OPEN} AND j.state = 'running'"
        )
        return [(rows.running(row), stop) for stop, *row in found]

    def to_be_stopped(self) -> list[tuple[int, str]]:
        """Jobs that run and shall not any more, and why."""
        found = self._file.all(
            f"SELECT id, stop FROM jobs WHERE {IS_OPEN} AND state = 'running' AND stop IS NOT NULL"
        )
        return [(job, why) for job, why in found]

    def setting(self, name: str) -> str:
        """What was set; empty if nothing was."""
        row = self._file.all("SELECT value FROM settings WHERE name = ?", (name,))
        return str(row[0][0]) if row else ""

    def set(self, name: str, value: str) -> None:
        """Keep a setting."""
        with self._file.transaction():
            self._database.execute(
                "INSERT INTO settings VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    def cancel(self, jobs: Sequence[int], now_s: float) -> list[QueuedJob]:
        """End jobs that haven't started, mark those that run to be stopped; returns what was open.

        Those that need one of them are cancelled, too.
        """
        with self._file.transaction():
            found = self._entries(
                "WHERE id IN (SELECT value FROM json_each(?)) AND state IN "
                "('queued', 'held', 'running')",
                (json.dumps(list(jobs)),),
            )
            for one in found:
                if one.state == RUNNING:
                    self._database.execute(
                        "UPDATE jobs SET stop = 'cancelled' WHERE id = ?", (one.id,)
                    )
                else:
                    self._end(AttemptEnd(one.id, one.attempt, CANCELLED, now_s))
        return found

    def hold(self, jobs: Sequence[int], *, held: bool) -> list[int]:
        """Keep queued jobs from starting, or let held ones go; returns those that changed."""
        before, after = (QUEUED, HELD) if held else (HELD, QUEUED)
        with self._file.transaction():
            found = self._file.all(
                "UPDATE jobs SET state = ? WHERE state = ? AND id IN "
                "(SELECT value FROM json_each(?)) RETURNING id",
                (after, before, json.dumps(list(jobs))),
            )
        return sorted(job for (job,) in found)

    def retry(self, jobs: Sequence[int]) -> list[int]:
        """Queue jobs again that have ended without success; returns them.

        They wait for those that they need and that are yet to end; not for those that have failed.
        """
        with self._file.transaction() as database:
            return queue_again(database, jobs)

    # how it is done

    def _end(self, end: AttemptEnd) -> bool:
        """An attempt is over; a job that never started has none (number 0).

        True if jobs may start now that could not before: itself, or those that needed it.
        """
        values = (end.ended_s, end.exit_code, end.signal, end.reason, end.peak_vram_mib)
        if end.attempt:
            self._database.execute(
                "UPDATE attempts SET ended_s = ?, exit_code = ?, signal = ?, reason = ?, "
                "peak_vram_mib = ?, user_s = ?, system_s = ?, max_rss_mib = ? "
                "WHERE job = ? AND number = ? AND ended_s IS NULL",
                (*values, end.user_s, end.system_s, end.max_rss_mib, end.job, end.attempt),
            )
        ended = self._database.execute(
            "UPDATE jobs SET state = ?, ended_s = ?, exit_code = ?, signal = ?, reason = ?, "
            f"peak_vram_mib = ?, stop = NULL WHERE id = ? AND {IS_OPEN}",
            (end.state, *values, end.job),
        )
        if not ended.rowcount:  # somebody was faster, and those who wait for it know
            return False
        if end.excused:
            self._database.execute(
                "UPDATE jobs SET tries = tries + 1 WHERE id = ? AND tries > 0", (end.job,)
            )
        if end.ask is not None:
            self._database.execute(
                "UPDATE jobs SET memory_mib = ?, slots = ?, auto_memory = 0 WHERE id = ?",
                (end.ask.memory_mib, GPU_UNITS // end.ask.units, end.job),
            )
        return end.state not in ENDED_STATES or self._let_go(end)

    def _let_go(self, end: AttemptEnd) -> bool:
        """Those who wait for the job wait no more: they may start, or never will."""
        waiting = self._database.execute(
            "SELECT n.job, n.success FROM needs n JOIN jobs j ON j.id = n.job "
            "WHERE n.needed = ? AND j.state IN ('queued', 'held')",
            (end.job,),
        ).fetchall()
        for job, success in waiting:
            if success and end.state != SUCCEEDED:
                reason = f"job {end.job}, which it needs, has {end.state}"
                self._end(AttemptEnd(job, 0, CANCELLED, end.ended_s, reason=reason))
            else:
                self._database.execute(
                    "UPDATE jobs SET blockers = blockers - 1 WHERE id = ?", (job,)
                )
        return bool(waiting)

    def _entries(self, rest: str, values: Sequence[Any] = ()) -> list[QueuedJob]:
        found = self._file.all(f"SELECT {rows.JOB_COLUMNS} FROM jobs {rest}", values)
        return [rows.job(row) for row in found]


def _where(
    states: Sequence[str],
    group: str | Sequence[str] | None,
    name: str | Sequence[str] | None,
    jobs: Sequence[int] | None,
) -> tuple[str, list[Any]]:
    """A condition that all of these must meet, and its values."""
    wheres, values = ["1"], list[Any]()
    if states and set(states) <= set(OPEN_STATES):
        wheres.append(IS_OPEN)
    elif states and set(states) <= set(ENDED_STATES):
        wheres.append(IS_ENDED)
    for column, wanted in (
        ("state", states or None),
        ("group_name", [group] if isinstance(group, str) else group),
        ("name", [name] if isinstance(name, str) else name),
    ):
        if wanted is not None:
            wheres.append(f"{column} IN ({_marks(wanted)})")
            values += wanted
    if jobs is not None:
        wheres.append("id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(jobs)))
    return " AND ".join(wheres), values


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)
