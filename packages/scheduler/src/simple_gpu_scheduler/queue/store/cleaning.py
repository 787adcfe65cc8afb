"""Removes ended jobs from the queue's file, and what was kept for them alone.

A cleaning may be killed at any step: all rows of a job are removed in one transaction, and files
only once no row needs them. The next cleaning finishes the work.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.store.database import QueueFile
from simple_gpu_scheduler.queue.store.schema import IS_ENDED
from simple_gpu_scheduler.system.failpoints import step

#: Jobs that one transaction removes. Others can write between two of them.
_MOST_AT_ONCE = 5000

#: Ended jobs that can be removed. A notification is sent first.
_IS_OVER = f"{IS_ENDED} AND (notify IS NULL OR notified = 1)"

_LOG = re.compile(r"(\d+)\.\d+\.log")
_SCRIPT = re.compile(rb"[0-9a-f]{64}")

#: A setting that exists from the removal of the first row until the end of the cleaning.
_UNFINISHED = "cleaning"


def remove_jobs(file: QueueFile, jobs: Sequence[int] | None, ended_by_s: float) -> list[int]:
    """Remove ended jobs; returns their numbers.

    Args:
        jobs: the jobs that may be removed; None: all.
        ended_by_s: jobs that ended later stay; on the wall clock.
    """
    file.all("PRAGMA secure_delete = ON")
    removed: list[int] = []
    while True:
        with file.transaction() as database:
            batch = _over(database, jobs, ended_by_s, _MOST_AT_ONCE)
            if batch:
                _remove_rows(database, batch)
                database.execute(f"INSERT OR IGNORE INTO settings VALUES ('{_UNFINISHED}', '1')")
            step("removing")
        step("removed")
        removed += batch
        if len(batch) < _MOST_AT_ONCE:
            return removed


def over(file: QueueFile, jobs: Sequence[int] | None, ended_by_s: float) -> list[int]:
    """Return the jobs that `remove_jobs` would remove."""
    return _over(file.database, jobs, ended_by_s, -1)


def remove_environments(file: QueueFile) -> int:
    """Remove environments that no job needs; returns their number.

    The last one is emptied instead, so that its number isn't used again: servers remember
    environments by number.
    """
    unused = "id NOT IN (SELECT context FROM jobs)"
    with file.transaction() as database:
        (count,) = database.execute(
            f"SELECT count(*) FROM contexts WHERE {unused} AND content != x''"
        ).fetchone()
        database.execute(
            f"DELETE FROM contexts WHERE {unused} AND id < (SELECT max(id) FROM contexts)"
        )
        database.execute(f"UPDATE contexts SET digest = x'', content = x'' WHERE {unused}")
    return int(count)


def unnotified(file: QueueFile, jobs: Sequence[int] | None) -> int:
    """Count the ended jobs whose notification is still to be sent."""
    (count,) = file.one(
        f"SELECT count(*) FROM jobs WHERE {IS_ENDED} AND notify IS NOT NULL AND notified = 0 "
        "AND (?1 IS NULL OR id IN (SELECT value FROM json_each(?1)))",
        (_listed(jobs),),
    )
    return int(count)


def is_unfinished(file: QueueFile) -> bool:
    """True if an earlier cleaning was killed before its end."""
    return bool(file.all(f"SELECT 1 FROM settings WHERE name = '{_UNFINISHED}'"))


def scrub(file: QueueFile) -> None:
    """Remove all traces of removed rows: from the file, its free pages, and the log beside it.

    This rewrites the file, as SQLite doesn't know where rows stood before they changed. Nobody
    else can write to it meanwhile.

    Raises:
        SgsError: there is no room, or others read the file without a pause.
    """
    try:
        file.all("PRAGMA temp_store = MEMORY")  # else environments may be copied to another disk
        file.all("VACUUM")
        step("rewritten")
        if file.one("PRAGMA wal_checkpoint(TRUNCATE)")[0]:
            raise SgsError(f"others read {file.path} without a pause")
    except SgsError as error:
        raise SgsError(
            f"the jobs are removed, but their traces in the queue's file are not: {error}; run "
            "sgs clean --finished again"
        ) from None
    with file.transaction() as database:
        database.execute(f"DELETE FROM settings WHERE name = '{_UNFINISHED}'")


# files


def removed_of(file: QueueFile, jobs: Iterable[int]) -> set[int]:
    """Return those of the jobs that were removed: their numbers were used, and have no row."""
    rows = file.all(
        "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM jobs) "
        "AND value <= (SELECT seq FROM sqlite_sequence WHERE name = 'jobs')",
        (_listed(sorted(set(jobs))),),
    )
    return {job for (job,) in rows}


def with_logs(folder: str) -> set[int]:
    """Return the jobs that have logs."""
    return set(_logs(folder).values())


def remove_logs(folder: str, jobs: Collection[int]) -> int:
    """Remove the logs of these jobs; returns the number of files removed."""
    logs, removed = os.path.join(folder, "logs"), frozenset(jobs)
    return sum(_remove(logs, name) for name, job in _logs(folder).items() if job in removed)


def _logs(folder: str) -> dict[str, int]:
    """Return the job of each log, by the log's name."""
    names = _names(os.path.join(folder, "logs"))
    return {name: int(match[1]) for name in names if (match := _LOG.fullmatch(name))}


def needed_scripts(file: QueueFile) -> set[str]:
    """Return the names of stored scripts that stand in the environments of jobs."""
    numbers = [number for (number,) in file.all("SELECT id FROM contexts")]
    query = "SELECT content FROM contexts WHERE id = ?"
    rows = (row for number in numbers for (row,) in file.all(query, (number,)))
    return {name.decode() for row in rows for name in _SCRIPT.findall(row)}


def frozen(file: QueueFile) -> list[tuple[int, str, str]]:
    """Return the jobs that run in copies of work trees, with their states and snapshots."""
    return file.all("SELECT id, state, snapshot FROM jobs WHERE snapshot != ''")


def empty_notify_log(file: QueueFile, folder: str) -> None:
    """Empty the log of --notify commands, if no remaining job has one."""
    if not file.all("SELECT 1 FROM jobs WHERE notify IS NOT NULL LIMIT 1"):
        with suppress(FileNotFoundError):
            os.truncate(os.path.join(folder, "notify.log"), 0)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _remove(folder: str, name: str) -> bool:
    try:
        os.unlink(os.path.join(folder, name))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SgsError(f"{folder}/{name} can't be removed: {error.strerror}") from None
    return True


# rows


def _over(
    database: sqlite3.Connection, jobs: Sequence[int] | None, ended_by_s: float, most: int
) -> list[int]:
    rows = database.execute(
        f"SELECT id FROM jobs WHERE {_IS_OVER} AND coalesce(ended_s, 0) <= ?2 "
        "AND (?1 IS NULL OR id IN (SELECT value FROM json_each(?1))) LIMIT ?3",
        (_listed(jobs), ended_by_s, most),
    )
    return [job for (job,) in rows]


def _remove_rows(database: sqlite3.Connection, jobs: Sequence[int]) -> None:
    for table, column in (  # no job waits for an ended one, so its dependencies can go
        ("attempts", "job"), ("needs", "job"), ("needs", "needed"), ("jobs", "id"),
    ):  # fmt: skip
        database.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(job,) for job in jobs])


def _listed(jobs: Sequence[int] | None) -> str | None:
    return None if jobs is None else json.dumps(list(jobs))
