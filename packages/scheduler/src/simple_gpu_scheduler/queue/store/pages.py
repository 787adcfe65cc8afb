"""Reads a queue of any length page by page, for a screen.

Jobs stand in sections: running, ready (in the order of their turn), blocked by other jobs or by
their start time, held, and ended. Nothing here reads more rows than a caller asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from simple_gpu_scheduler.queue.records import QUEUED, STATES
from simple_gpu_scheduler.queue.store.database import QueueFile
from simple_gpu_scheduler.queue.store.schema import IS_ENDED, IS_OPEN

RUNS, READY, BLOCKED, HOLDS, ENDED = "runs", "ready", "blocked", "holds", "ended"

#: The condition of the index of ready jobs, word for word, so that SQLite uses it.
_IS_READY = "blockers = 0 AND later = 0"


class _Section(NamedTuple):
    """The SQL of a section."""

    where: str
    order: str
    before: str  #: a condition: a job comes before the one called `this`
    source: str = "jobs"


_BY_TURN = _Section(
    "",
    "priority DESC, id",
    "jobs.priority > this.priority OR jobs.priority = this.priority AND jobs.id < this.id",
)
_SECTIONS = {
    RUNS: _Section(
        f"{IS_OPEN} AND state = 'running'",
        "started_s, id",
        "jobs.started_s < this.started_s OR jobs.started_s = this.started_s AND jobs.id < this.id",
    ),
    READY: _BY_TURN._replace(
        where=f"state = 'queued' AND {_IS_READY}", source="jobs INDEXED BY jobs_ready"
    ),
    BLOCKED: _BY_TURN._replace(where=f"{IS_OPEN} AND state = 'queued' AND NOT ({_IS_READY})"),
    HOLDS: _Section(f"{IS_OPEN} AND state = 'held'", "id", "jobs.id < this.id"),
    ENDED: _Section(
        IS_ENDED,
        "ended_s DESC, id DESC",
        "jobs.ended_s > this.ended_s OR jobs.ended_s = this.ended_s AND jobs.id > this.id",
    ),
}
_NAMES = {"running": RUNS, "held": HOLDS}

#: The number of jobs by their state, and by whether they are blocked.
Counts = Mapping[tuple[str, bool], int]
_KINDS = (*((state, False) for state in STATES), (QUEUED, True))

#: Counts all kinds in one pass; GROUP BY would sort the jobs.
_COUNTED = ", ".join(
    f"count(*) FILTER (WHERE state = '{state}'"
    + (f" AND ({_IS_READY}) != {blocked:d})" if state == QUEUED else ")")
    for state, blocked in _KINDS
)


def by_state(counts: Counts) -> dict[str, int]:
    """Return the number of jobs in each state that has some."""
    totals: dict[str, int] = {}
    for (state, _), count in counts.items():
        totals[state] = totals.get(state, 0) + count
    return totals


def by_section(counts: Counts) -> dict[str, int]:
    """Return the number of jobs in each section."""
    totals = dict.fromkeys(_SECTIONS, 0)
    for (state, blocked), count in counts.items():
        totals[_section(state, blocked)] += count
    return totals


class QueuePages:
    """Reads a queue's file by pages, and changes the priority of jobs."""

    def __init__(self, path: str) -> None:
        """Open the file; create it if there is none.

        Raises:
            SgsError: it can't be used.
        """
        self._file = QueueFile(path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def version(self) -> int:
        """A number that changes whenever somebody else has written. Cheap to ask for."""
        return self._file.version()

    def counts(self, words: Sequence[str] = ()) -> Counts:
        """Return the number of jobs that match all words, by state and whether it is blocked."""
        where, values = _matches(words)
        counts = self._file.one(f"SELECT {_COUNTED} FROM jobs WHERE {where}", values)
        return {kind: count for kind, count in zip(_KINDS, counts, strict=True) if count}

    def jobs(self, section: str, words: Sequence[str], first: int, most: int) -> list[int]:
        """Return a page of the jobs of a section that match all words.

        Args:
            first: the number of jobs before the page.
            most: the size of the page.
        """
        sql = _SECTIONS[section]
        where, values = _matches(words)
        rows = self._file.all(
            f"SELECT id FROM {sql.source} WHERE {sql.where} AND {where} ORDER BY {sql.order} "
            "LIMIT ? OFFSET ?",
            (*values, most, first),
        )
        return [job for (job,) in rows]

    def place(self, job: int, words: Sequence[str] = ()) -> tuple[str, int] | None:
        """Return the section of a job, and the number of jobs before it there.

        None if there is no such job, or it doesn't match all words.
        """
        where, values = _matches(words)
        row = self._file.all(
            f"SELECT state, NOT ({_IS_READY}) FROM jobs WHERE id = ? AND {where}", (job, *values)
        )
        if not row:
            return None
        name = _section(row[0][0], bool(row[0][1]))
        sql = _SECTIONS[name]
        (count,) = self._file.one(
            "SELECT count(*) FROM jobs, (SELECT id, priority, started_s, ended_s FROM jobs "
            f"WHERE id = ?) AS this WHERE {sql.where} AND ({sql.before}) AND {where}",
            (job, *values),
        )
        return name, int(count)

    def on_gpus(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return the running jobs and their GPUs."""
        rows = self._file.all(
            f"SELECT id, gpu_names FROM jobs WHERE {_SECTIONS[RUNS].where} ORDER BY id"
        )
        return [(job, tuple(filter(None, names.split(",")))) for job, names in rows]

    def change_priority(self, jobs: Sequence[int], by: int) -> dict[int, int]:
        """Raise or lower the priority of waiting jobs; returns the new priority of each."""
        with self._file.transaction():
            rows = self._file.all(
                "UPDATE jobs SET priority = priority + ? WHERE state IN ('queued', 'held') AND "
                "id IN (SELECT value FROM json_each(?)) RETURNING id, priority",
                (by, json.dumps(list(jobs))),
            )
        return dict(rows)


def _section(state: str, blocked: bool) -> str:
    if state == "queued":
        return BLOCKED if blocked else READY
    return _NAMES.get(state, ENDED)


#: Where a word may stand to match a job.
_SEARCHED = ("name", "group_name", "state", "CAST(command AS TEXT)")


def _matches(words: Sequence[str]) -> tuple[str, list[Any]]:
    """Return a condition and its values: each word is in a searched column, or is the number."""
    conditions, values = ["1"], list[Any]()
    for word in words:
        searched = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in _SEARCHED)
        conditions.append(f"({searched} OR jobs.id = ?)")
        values += [f"%{_escaped(word)}%"] * len(_SEARCHED)
        values.append(int(word) if word.isascii() and word.isdigit() and len(word) < 19 else -1)
    return " AND ".join(conditions), values


def _escaped(word: str) -> str:
    """Escape what has a meaning in LIKE."""
    for special in "\\%_":
        word = word.replace(special, "\\" + special)
    return word
