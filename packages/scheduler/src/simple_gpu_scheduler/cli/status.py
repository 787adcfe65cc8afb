"""`sgs status`: the jobs of the queue."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.adapters.queue_home import QueueHome
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue_table import table
from simple_gpu_scheduler.cli.queued_jobs import as_object
from simple_gpu_scheduler.queue.records import (
    ENDED_STATES,
    OPEN_STATES,
    RUNNING,
    STATES,
    Entry,
)
from simple_gpu_scheduler.results.text import crop, printable

_EPILOG = """\
Those that run come before those that wait, which are shown in the order of their turns. Of more
than 25 that wait only the first 20 are shown, and the 5 submitted last; --limit N shows N, --all
all. The last line counts all jobs of the queue, or those of the groups and names.

--json prints a list of objects, of all jobs that are asked for: id, state, exit_code, signal,
reason, command, name, group, key, priority, gpus (those that it has or had), gpus_asked, vram_mib,
snapshot (of the work tree that it runs in), attempt, submitted, started and ended (seconds since
1970). What isn't known is null.

With --watch, on a terminal, q or ^C ends it; elsewhere the table is printed anew, after a blank
line, whenever something has changed (with --json: a list on one line).

examples:
  sgs status                    what runs and what waits
  sgs status --all --group lr   all jobs of a group, also those that have ended
  sgs status --state failed --state lost
  sgs status --watch
  sgs status --all --json | jq '.[] | select(.state == "failed") | .command'"""

_LIMIT = 25
_WAITING = tuple(state for state in OPEN_STATES if state != RUNNING)


class Query(NamedTuple):
    """Which jobs are asked for."""

    states: tuple[str, ...]
    group: list[str] | None
    name: list[str] | None
    limit: int | None  #: of those that wait, and of those that have ended; None: all


class Seen(NamedTuple):
    """What there is to be shown; what is equal looks alike, but for the running times."""

    rows: list[Entry | str]
    counts: dict[str, int]
    server: str  #: what keeps it from starting jobs
    nothing: str = "The queue is empty."  #: where none is counted


def main(argv: Sequence[str]) -> int:
    """Print the jobs; returns the exit status."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    query = _query(args)
    if args.watch:
        from simple_gpu_scheduler.cli.watch import watch

        watch(home, query, as_json=args.json)
    elif args.json:
        for piece in _pieces(selected(home, query)):
            sys.stdout.write(piece)
    else:
        print("\n".join(lines(look(home, query), time.time(), terminal_columns())))
    return 0


def look(home: QueueHome, query: Query) -> Seen:
    """See what is to be shown."""
    of_all = query.group is None and query.name is None
    nothing = "The queue is empty." if of_all else "There is no such job."
    counts = _counts(home, query)
    return Seen(list(_rows(home, query, counts)), counts, _server(home), nothing)


def lines(seen: Seen, now_s: float, width: int | None) -> list[str]:
    """The table, and how many jobs are in which state."""
    parts = [f"{seen.counts[state]} {state}" for state in STATES if state in seen.counts]
    summary = ", ".join(parts) or seen.nothing
    last = [summary, *([printable(seen.server)] if seen.server else [])]
    return [*table(seen.rows, now_s, width), *(crop(one, width or 10**6) for one in last)]


def selected(home: QueueHome, query: Query) -> list[Entry]:
    """The jobs that are asked for, in the order of their numbers."""
    if query.limit is None:
        return home.store.entries(states=query.states, group=query.group, name=query.name)
    rows = _rows(home, query, _counts(home, query))
    return sorted((one for one in rows if isinstance(one, Entry)), key=lambda one: one.id)


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


def _rows(home: QueueHome, query: Query, counts: dict[str, int]) -> Iterator[Entry | str]:
    """Those that have ended, those that run and those that wait, as far as they are shown."""
    ended, running, waiting = (
        tuple(one for one in of if one in counts and (not query.states or one in query.states))
        for of in (ENDED_STATES, (RUNNING,), _WAITING)
    )

    def entries(states: tuple[str, ...], order: str, most: int | None = None) -> list[Entry]:
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
    if home.server_pid() is not None or not home.store.entries(states=OPEN_STATES, most=1):
        return drained
    words = home.last_words()
    return f"No server runs{': ' + words if words else ''} (sgs server start). {drained}".rstrip()


def _pieces(entries: Iterable[Entry]) -> Iterator[str]:
    """A list as JSON, an object a line."""
    before = "["
    for one in entries:
        yield before + json.dumps(as_object(one))
        before = ",\n "
    yield "[]\n" if before == "[" else "]\n"


def _query(args: argparse.Namespace) -> Query:
    states = tuple(args.state or (() if args.all else OPEN_STATES))
    limit = args.limit
    if limit is None and not args.all and not args.json:
        limit = _LIMIT
    return Query(states, args.group, args.name, limit)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of jobs, not {text!r}")
    return int(text[:9])


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs status",
        allow_abbrev=False,
        description="Show the jobs of the queue: those that run or wait, or more.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--all", action="store_true", help="also those that have ended, and all of them")
    add("--state", action="append", choices=STATES, help="only these (may be given again)")
    add("--group", action="append", metavar="G", help="only those of this group (likewise)")
    add("--name", action="append", help="only those of this name (likewise)")
    add("--limit", type=_number, metavar="N", help="show so many that wait or have ended")
    add("--watch", action="store_true", help="show them anew whenever something changes")
    add("--json", action="store_true", help="print a list of objects instead")
    return parser
