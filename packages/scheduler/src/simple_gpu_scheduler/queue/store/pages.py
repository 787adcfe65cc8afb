"""A window over the queue, however long it is: how many jobs there are, and those of some lines.

Jobs stand in sections: what runs, what is ready in the order of its turn, what waits for others,
what is held, what has ended. Nothing here reads more rows than it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from simple_gpu_scheduler.queue.records import QUEUED, STATES
from simple_gpu_scheduler.queue.store.database import QueueFile
from simple_gpu_scheduler.queue.store.schema import IS_ENDED, IS_OPEN

RUNS, READY, BLOCKED, HOLDS, ENDED = "runs", "ready", "blocked", "holds", "ended"

#: As the index of ready jobs says it: SQLite compares conditions by their words.
_IS_READY = "blockers = 0 AND later = 0"


class _Section(NamedTuple):
    where: str
    order: str
    before: str  #: those that come before `this`
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

#: Jobs by their state, and whether they wait for others, or for their time.
Counts = Mapping[tuple[str, bool], int]
_KINDS = (*((state, False) for state in STATES), (QUEUED, True))

#: All in one pass; GROUP BY would sort the jobs.
_COUNTED = ", ".join(
    f"count(*) FILTER (WHERE state = '{state}'"
    + (f" AND ({_IS_READY}) != {blocked:d})" if state == QUEUED else ")")
    for state, blocked in _KINDS
)


def by_state(counts: Counts) -> dict[str, int]:
    """How many jobs are in each state that has some."""
    found: dict[str, int] = {}
    for (state, _), count in counts.items():
        found[state] = found.get(state, 0) + count
    return found


def by_section(counts: Counts) -> dict[str, int]:
    """How many jobs are in each section."""
    found = dict.fromkeys(_SECTIONS, 0)
    for (state, blocked), count in counts.items():
        found[_section(state, blocked)] += count
    return found


class QueuePages:
    """Reads a queue's file, and changes the turn of jobs in it."""

    def __init__(self, path: str) -> None:
        """Open the file; it is created if need be.

        Raises:
            SgsError: it can't be used.
        """
        self._file = QueueFile(path)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def version(self) -> int:
        """Another number whenever somebody else has written to the file; costs next to nothing."""
        return self._file.version()

    def counts(self, words: Sequence[str] = ()) -> Counts:
        """How many jobs there are of which every word tells something."""
        where, values = _meant(words)
        found = self._file.one(f"SELECT {_COUNTED} FROM jobs WHERE {where}", values)
        return {kind: count for kind, count in zip(_KINDS, found, strict=True) if count}

    def jobs(self, section: str, words: Sequence[str], first: int, most: int) -> list[int]:
        """The numbers of so many jobs, from one on, in the order of the section."""
        one = _SECTIONS[section]
        where, values = _meant(words)
        rows = self._file.all(
            f"SELECT id FROM {one.source} WHERE {one.where} AND {where} ORDER BY {one.order} "
            "LIMIT ? OFFSET ?",
            (*values, most, first),
        )
        return [job for (job,) in rows]

    def place(self, job: int, words: Sequence[str] = ()) -> tuple[str, int] | None:
        """The section of a job, and how many come before it there; None if it isn't meant."""
        where, values = _meant(words)
        row = self._file.all(
            f"SELECT state, NOT ({_IS_READY}) FROM jobs WHERE id = ? AND {where}", (job, *values)
        )
        if not row:
            return None
        name = _section(row[0][0], bool(row[0][1]))
        one = _SECTIONS[name]
        (count,) = self._file.one(
            "SELECT count(*) FROM jobs, (SELECT id, priority, started_s, ended_s FROM jobs "
            f"WHERE id = ?) AS this WHERE {one.where} AND ({one.before}) AND {where}",
            (job, *values),
        )
        return name, int(count)

    def on_gpus(self) -> list[tuple[int, tuple[str, ...]]]:
        """The jobs that run, and the GPUs that they have."""
        rows = self._file.all(
            f"SELECT id, gpu_names FROM jobs WHERE {_SECTIONS[RUNS].where} ORDER BY id"
        )
        return [(job, tuple(filter(None, names.split(",")))) for job, names in rows]

    def change_priority(self, jobs: Sequence[int], by: int) -> dict[int, int]:
        """Raise or lower the priority of jobs that wait; returns the new ones."""
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


_TOLD = ("name", "group_name", "state", "CAST(command AS TEXT)")


def _meant(words: Sequence[str]) -> tuple[str, list[Any]]:
    """The condition that each word is in what is told of a job, or is its number."""
    conditions, values = ["1"], list[Any]()
    for word in words:
        told = " OR ".join(f"{one} LIKE ? ESCAPE '\\'" for one in _TOLD)
        conditions.append(f"({told} OR jobs.id = ?)")
        values += [f"%{_literal(word)}%"] * len(_TOLD)
        values.append(int(word) if word.isascii() and word.isdigit() and len(word) < 19 else -1)
    return " AND ".join(conditions), values


def _literal(word: str) -> str:
    for special in "\\%_":
        word = word.replace(special, "\\" + special)
    return word
