"""What the keys do to jobs: the same as `sgs cancel`, `hold`, `release`, `retry`, and in words."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from simple_gpu_scheduler.top.reader import Looker
from simple_gpu_scheduler.top.screen.job_table import numbers
from simple_gpu_scheduler.top.screen.spans import Piece


def cancel(looker: Looker, jobs: Sequence[int]) -> Piece:
    """End jobs, or keep them from ever starting.

    Raises:
        SgsError: the queue can't be changed.
    """
    found = [one.id for one in looker.home.store.cancel(jobs, time.time())]
    return _done(looker, "cancelled", found, "nothing to cancel: it has ended")


def hold(looker: Looker, jobs: Sequence[int]) -> Piece:
    """Hold those that wait; if none of them does, release those that are held.

    Raises:
        SgsError: as `cancel`.
    """
    store = looker.home.store
    if found := store.hold(jobs, held=True):
        return _done(looker, "held", found, "")
    nothing = "nothing to hold or release: it runs, or has ended"
    return _done(looker, "released", store.hold(jobs, held=False), nothing)


def change_priority(looker: Looker, jobs: Sequence[int], by: int) -> Piece:
    """Raise or lower the priority of those that wait.

    Raises:
        SgsError: as `cancel`.
    """
    found = looker.view.change_priority(jobs, by)
    levels = sorted(set(found.values()))
    now = f"priority {levels[0]}" if len(levels) == 1 else f"priority {'+' if by > 0 else ''}{by}"
    return _done(looker, now, found, "only a job that waits has a turn to change")


def retry(looker: Looker, jobs: Sequence[int]) -> Piece:
    """Queue jobs again that failed, were cancelled or lost.

    Raises:
        SgsError: as `cancel`.
    """
    found = looker.home.store.retry(jobs)
    return _done(looker, "queued again", found, "nothing to retry: it hasn't failed")


def _done(looker: Looker, what: str, found: Iterable[int], nothing: str) -> Piece:
    jobs = list(found)
    if not jobs:
        return Piece(nothing, "warn")
    looker.home.wake()
    return Piece(f"{what}: {numbers(jobs)}", "bold")
