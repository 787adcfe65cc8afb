"""What `sgs status` shows of the queue, as lines of a table."""

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
    """Which jobs are asked for."""

    states: tuple[str, ...]
    group: list[str] | None
    name: list[str] | None
    limit: int | None  #: of those that wait, and of those that have ended; None: all


class Listing(NamedTuple):
    """What there is to be shown; what is equal looks alike, but for the running times."""

    rows: list[QueuedJob | str]
    counts: dict[str, int]
    server: str  #: what keeps it from starting jobs
    nothing: str = "The queue is empty."  #: where none is counted


def read_listing(home: QueueHome, query: Query) -> Listing:
    """See what is to be shown."""
    of_all = query.group is None and query.name is None
    nothing = "The queue is empty." if of_all else "There is no such job."
    counts = _counts(home, query)
    return Listing(list(_rows(home, query, counts)), counts, _server(home), nothing)


def lines(seen: Listing, now_s: float, width: int | None) -> list[str]:
    """The table, and how many jobs are in which state."""
    parts = [f"{seen.counts[state]} {state}" for state in STATES if state in seen.counts]
    summary = ", ".join(parts) or seen.nothing
    last = [summary, *([printable(seen.server)] if seen.server else [])]
    return [*table(seen.rows, now_s, width), *(crop(one, width or 10**6) for one in last)]


def selected(home: QueueHome, query: Query) -> list[QueuedJob]:
    """The jobs that are asked for, in the order of their numbers."""
    if query.limit is None:
        return home.store.entries(states=query.states, group=query.group, name=query.name)
    rows = _rows(home, query, _counts(home, query))
    return sorted((one for one in rows if isinstance(one, QueuedJob)), key=lambda one: one.id)


def _counts(home: QueueHome, query: Query) -> dict[str, int]:
    """How many of those groups and names are in each state, whichever states are asked for."""
    return home.store.counts(group=query.group, name=query.name)


def terminal_columns() -> int | None:
    """None where stdout is no terminal: what reads it wants whole commands."""
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(1).columns or None
    except OSError:
        return None


def _rows(home: QueueHome, query: Query, counts: dict[str, int]) -> Iterator[QueuedJob | str]:
    """Those that have ended, those that run and those that wait, as far as they are shown."""
    ended, running, waiting = (
        tuple(one for one in of if one in counts and (not query.states or one in query.states))
        for of in (ENDED_STATES, (RUNNING,), _WAITING)
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
    known = {one.id for one in first}
    last = [one for one in entries(waiting, "latest", query.limit) if one.id not in known][:few]
    yield from first
    yield from _left_out(number - len(first) - len(last), "between these")
    yield from reversed(last)


def _left_out(number: int, where: str) -> list[str]:
    return [f"... {number:,} more {where} (--limit N, --all)"] if number > 0 else []


def _server(home: QueueHome) -> str:
    is_drained = home.store.setting("drained")
    drained = "The queue is drained: it starts nothing before sgs server resume." * bool(
        is_drained
    )
    if lacks := home.lacks():
        return f"Nothing starts: {lacks}."
    if home.server_pid() is not None or not home.store.entries(states=OPEN_STATES, most=1):
        return drained
    words = home.last_words()
    return f"No server runs{': ' + words if words else ''} (sgs server start). {drained}".rstrip()
