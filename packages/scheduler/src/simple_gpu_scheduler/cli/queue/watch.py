"""`sgs status --watch`: draw or print the table again whenever something changes."""

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

_CLOCK_S = 1.0  #: run times are shown in seconds
_GATHER_S = 0.05  #: changes within this time are shown as one
_OTHER_LINES = 3  #: lines that are no jobs: titles, counts, why no job starts


def watch(home: QueueHome, query: Query, *, as_json: bool) -> None:
    """Show the jobs until the user presses q or ^C, or until nobody reads stdout."""
    with QueueChanges([home.folder]) as changes:
        if sys.stdout.isatty() and not as_json:
            _draw(home, query, changes)
        else:
            _print(home, query, changes, as_json=as_json)


def _draw(home: QueueHome, query: Query, changes: QueueChanges) -> None:
    with Screen() as screen:
        while True:
            size = screen.size()
            listing = read_listing(home, _limited(query, size.lines))
            screen.draw(_fitted_lines(listing, size.columns, size.lines))
            clock_s = _CLOCK_S if listing.counts.get(RUNNING) else None
            if b"q" in screen.read(changes.wait(clock_s, screen.fds)):
                break
            time.sleep(_GATHER_S)
    print_lines(*lines(listing, time.time(), size.columns))


def _limited(query: Query, height: int) -> Query:
    """Return the query for at most as many jobs as the terminal has lines for."""
    most = max(1, height - _OTHER_LINES)
    return query._replace(limit=most if query.limit is None else min(query.limit, most))


def _fitted_lines(listing: Listing, width: int, height: int) -> list[str]:
    """Return the lines; if they are too many, the last jobs are left out, but not the counts."""
    shown = lines(listing, time.time(), width)
    last = shown[len(shown) - (2 if listing.problem else 1) :]
    return [*shown[: -len(last)][: max(0, height - len(last))], *last]


def _print(home: QueueHome, query: Query, changes: QueueChanges, *, as_json: bool) -> None:
    before: object = None
    stdout = sys.stdout.fileno()
    gone: frozenset[int] = frozenset()
    while stdout not in gone:
        jobs = selected(home, query) if as_json else read_listing(home, query)
        if jobs != before:
            if isinstance(jobs, Listing):
                between = [] if before is None else [""]
                print_lines(*between, *lines(jobs, time.time(), None))
            else:
                print_lines(json.dumps([as_object(job) for job in jobs]))
            sys.stdout.flush()
            before = jobs
        gone = changes.wait(gone=stdout)
        time.sleep(_GATHER_S)
