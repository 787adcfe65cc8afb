"""Which jobs `sgs status` shows, and what it says below the table."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

from simple_gpu_scheduler.cli.queue.table import table
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import (
    ENDED_STATES,
    OPEN_STATES,
    RUNNING,
    STATES,
    QueuedJob,
)
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop

_WAITING = tuple(state for state in OPEN_STATES if state != RUNNING)


class Query(NamedTuple):
    """Which jobs to show."""

    states: tuple[str, ...]
    group: list[str] | None
    name: list[str] | None
    limit: int | None  #: show so many that wait, and so many that ended; None: all


class Listing(NamedTuple):
    """What to show. Equal listings look alike, except for run times."""

    rows: list[QueuedJob | str]  #: a text stands for jobs that are left out
    counts: dict[str, int]  #: by state
    problem: str  #: why no job starts; empty: nothing is wrong
    nothing: str = "The queue is empty."  #: said if there is no job


def read_listing(home: QueueHome, query: Query) -> Listing:
    """Read from the queue what to show."""
    is_of_all = query.group is None and query.name is None
    nothing = "The queue is empty." if is_of_all else "There is no such job."
    counts = _counts(home, query)
    return Listing(list(_rows(home, query, counts)), counts, _problem(home), nothing)


def lines(listing: Listing, now_s: float, width: int | None) -> list[str]:
    """Return the table, the number of jobs in each state, and why no job starts."""
    counts = [f"{listing.counts[state]} {state}" for state in STATES if state in listing.counts]
    last = [", ".join(counts) or listing.nothing]
    if listing.problem:
        last.append(printable(listing.problem))
    return [*table(listing.rows, now_s, width), *(crop(line, width or 10**6) for line in last)]


def selected(home: QueueHome, query: Query) -> list[QueuedJob]:
    """Return the jobs of a query, in the order of their numbers."""
    if query.limit is None:
        return home.store.entries(states=query.states, group=query.group, name=query.name)
    rows = _rows(home, query, _counts(home, query))
    return sorted((row for row in rows if isinstance(row, QueuedJob)), key=lambda job: job.id)


def _counts(home: QueueHome, query: Query) -> dict[str, int]:
    """Count the jobs of the query's groups and names in each state, whatever its states are."""
    return home.store.counts(group=query.group, name=query.name)


def terminal_columns() -> int | None:
    """Return the width of the terminal; None if stdout is none, as programs read whole lines."""
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(1).columns or None
    except OSError:
        return None


def _rows(home: QueueHome, query: Query, counts: dict[str, int]) -> Iterator[QueuedJob | str]:
    """Yield jobs that ended, then jobs that run, then jobs that wait, up to the limit."""
    ended, running, waiting = (
        tuple(s for s in states if s in counts and (not query.states or s in query.states))
        for states in (ENDED_STATES, (RUNNING,), _WAITING)
    )

    def entries(states: tuple[str, ...], order: str, most: int | None = None) -> list[QueuedJob]:
        if not states or most == 0:
            return []
        return home.store.entries(
            states=states, group=query.group, name=query.name,
            order=order, most=-1 if most is None else most,
        )  # fmt: skip

    if query.limit is None:
        yield from (*entries(ended, "id"), *entries(running, "id"), *entries(waiting, "turn"))
        return
    yield from _left_out(sum(counts[state] for state in ended) - query.limit, "before these")
    yield from reversed(entries(ended, "latest", query.limit))
    yield from entries(running, "id")
    number = sum(counts[state] for state in waiting)
    few = query.limit // 5 if number > query.limit else 0
    first = entries(waiting, "turn", query.limit - few)
    shown = {job.id for job in first}
    last = [job for job in entries(waiting, "latest", query.limit) if job.id not in shown][:few]
    yield from first
    yield from _left_out(number - len(first) - len(last), "between these")
    yield from reversed(last)


def _left_out(number: int, where: str) -> list[str]:
    return [f"... {number:,} more {where} (--limit N, --all)"] if number > 0 else []


def _problem(home: QueueHome) -> str:
    """Return why the queue starts no jobs; empty if it does, or if no job waits."""
    drained = ""
    if home.store.setting("drained"):
        drained = "The queue is drained: it starts nothing before sgs server resume."
    if lacks := home.lacks():
        return f"Nothing starts: {lacks}."
    if home.server_pid() is not None or not home.store.entries(states=OPEN_STATES, most=1):
        return drained
    error = home.last_words()
    return f"No server runs{': ' + error if error else ''} (sgs server start). {drained}".rstrip()
