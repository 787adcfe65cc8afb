"""`sgs status --watch`: the table, drawn or printed anew whenever something has changed."""

from __future__ import annotations

import json
import sys
import time

from simple_gpu_scheduler.cli.queue.jobs import as_object
from simple_gpu_scheduler.cli.queue.listing import Listing, Query, lines, read_listing, selected
from simple_gpu_scheduler.cli.queue.screen import Screen
from simple_gpu_scheduler.queue.changes import QueueChanges
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import RUNNING
from simple_gpu_scheduler.system.fds import print_lines

_CLOCK_S = 1.0  #: running times are shown in seconds
_GATHER_S = 0.05  #: many changes at once are shown as one
_OF_ITS_OWN = 3  #: lines of a table that aren't jobs: titles, counts, the server


def watch(home: QueueHome, query: Query, *, as_json: bool) -> None:
    """Show the jobs until the user has seen enough, or nobody reads on."""
    with QueueChanges([home.folder]) as news:
        if sys.stdout.isatty() and not as_json:
            _draw(home, query, news)
        else:
            _print(home, query, news, as_json=as_json)


def _draw(home: QueueHome, query: Query, news: QueueChanges) -> None:
    with Screen() as screen:
        while True:
            size = screen.size()
            seen = read_listing(home, _that_fits(query, size.lines))
            screen.draw(_fitting(seen, size.columns, size.lines))
            clock_s = _CLOCK_S if seen.counts.get(RUNNING) else None
            if b"q" in screen.read(news.wait(clock_s, screen.fds)):
                break
            time.sleep(_GATHER_S)
    print_lines(*lines(seen, time.time(), size.columns))


def _that_fits(query: Query, height: int) -> Query:
    most = max(1, height - _OF_ITS_OWN)
    return query._replace(limit=most if query.limit is None else min(query.limit, most))


def _fitting(seen: Listing, width: int, height: int) -> list[str]:
    """The lines; where they are too many the counts stay, and the last jobs go."""
    found = lines(seen, time.time(), width)
    last = found[len(found) - (2 if seen.server else 1) :]
    return [*found[: -len(last)][: max(0, height - len(last))], *last]


def _print(home: QueueHome, query: Query, news: QueueChanges, *, as_json: bool) -> None:
    before: object = None
    stdout = sys.stdout.fileno()
    gone: frozenset[int] = frozenset()
    while stdout not in gone:
        seen = selected(home, query) if as_json else read_listing(home, query)
        if seen != before:
            if isinstance(seen, Listing):
                between = [] if before is None else [""]
                print_lines(*between, *lines(seen, time.time(), None))
            else:
                print_lines(json.dumps([as_object(one) for one in seen]))
            sys.stdout.flush()
            before = seen
        gone = news.wait(gone=stdout)
        time.sleep(_GATHER_S)
