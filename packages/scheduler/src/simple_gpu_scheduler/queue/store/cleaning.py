"""Jobs that have ended go from the queue's file, with all that was kept for them alone.

Whoever is killed over it: the rows of a job go at once, and files go once no row needs them. That
all is done, the next cleaning sees to.
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

#: So many at once: others can write in between.
_MOST_AT_ONCE = 5000

#: Jobs that have ended for good. Who is to be told of one is told first.
_IS_OVER = f"{IS_ENDED} AND (notify IS NULL OR notified = 1)"

_LOG = re.compile(r"(\d+)\.\d+\.log")
_SCRIPT = re.compile(rb"[0-9a-f]{64}")

#: Set from the first row that goes until the last trace has gone.
_UNFINISHED = "cleaning"


def remove_jobs(file: QueueFile, jobs: Sequence[int] | None, ended_by_s: float) -> list[int]:
    """Remove jobs that have ended; returns them.

    Args:
        jobs: among these; None: among all.
        ended_by_s: those alone that had ended by then.
    """
    file.all("PRAGMA secure_delete = ON")
    removed: list[int] = []
    while True:
        with file.transaction() as database:
            found = _over(database, jobs, ended_by_s, _MOST_AT_ONCE)
            if found:
                _remove_rows(database, found)
                database.execute(f"INSERT OR IGNORE INTO settings VALUES ('{_UNFINISHED}', '1')")
            step("removing")
        step("removed")
        removed += found
        if len(found) < _MOST_AT_ONCE:
            return removed


def over(file: QueueFile, jobs: Sequence[int] | None, ended_by_s: float) -> list[int]:
    """Those that `remove_jobs` would remove."""
    return _over(file.database, jobs, ended_by_s, -1)


def remove_environments(file: QueueFile) -> int:
    """Remove environments that no job has any more; returns how many went.

    Servers know them by number. So the last one is emptied, that its number isn't used again.
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
    """How many jobs have ended whose submitters are yet to be told."""
    (count,) = file.one(
        f"SELECT count(*) FROM jobs WHERE {IS_ENDED} AND notify IS NOT NULL AND notified = 0 "
        "AND (?1 IS NULL OR id IN (SELECT value FROM json_each(?1)))",
        (_listed(jobs),),
    )
    return int(count)


def is_unfinished(file: QueueFile) -> bool:
    """True if somebody was killed over it."""
    return bool(file.all(f"SELECT 1 FROM settings WHERE name = '{_UNFINISHED}'"))


def scrub(file: QueueFile) -> None:
    """Have nothing of what was removed in the file, its free pages, and the log beside it.

    The file is written anew: where rows stood before they changed can't be found. Nobody else can
    write to it meanwhile.

    Raises:
        SgsError: it can't be, as there is no room, or others read without a pause.
    """
    try:
        file.all("PRAGMA temp_store = MEMORY")  # no environment comes to another disk
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
    """Those that were there, and were removed: their numbers were given, and they have no row."""
    rows = file.all(
        "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM jobs) "
        "AND value <= (SELECT seq FROM sqlite_sequence WHERE name = 'jobs')",
        (_listed(sorted(set(jobs))),),
    )
    return {job for (job,) in rows}


def with_logs(folder: str) -> set[int]:
    """The jobs whose output is kept."""
    return set(_logs(folder).values())


def remove_logs(folder: str, jobs: Collection[int]) -> int:
    """Remove the output of these jobs; returns how many files went."""
    logs, gone = os.path.join(folder, "logs"), frozenset(jobs)
    return sum(_remove(logs, name) for name, job in _logs(folder).items() if job in gone)


def _logs(folder: str) -> dict[str, int]:
    names = _names(os.path.join(folder, "logs"))
    return {name: int(match[1]) for name in names if (match := _LOG.fullmatch(name))}


def needed_scripts(file: QueueFile) -> set[str]:
    """The texts of scripts that environments of jobs speak of."""
    numbers = [number for (number,) in file.all("SELECT id FROM contexts")]
    query = "SELECT content FROM contexts WHERE id = ?"
    rows = (row for number in numbers for (row,) in file.all(query, (number,)))
    return {name.decode() for row in rows for name in _SCRIPT.findall(row)}


def frozen(file: QueueFile) -> list[tuple[int, str, str]]:
    """The jobs that run in copies of work trees, with their states and snapshots."""
    return file.all("SELECT id, state, snapshot FROM jobs WHERE snapshot != ''")


def empty_notify_log(file: QueueFile, folder: str) -> None:
    """Forget what the commands of --notify printed, if no job that is left has one."""
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
    """Nobody waits for what has ended, so that nobody misses them."""
    for table, column in (
        ("attempts", "job"), ("needs", "job"), ("needs", "needed"), ("jobs", "id"),
    ):  # fmt: skip
        database.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(job,) for job in jobs])


def _listed(jobs: Sequence[int] | None) -> str | None:
    return None if jobs is None else json.dumps(list(jobs))
