"""Actions that change jobs, as `sgs cancel`, `hold`, `release` and `retry` do.

Each returns the message to show. They run in the thread that owns the reader.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from simple_gpu_scheduler.top.reader import QueueReader
from simple_gpu_scheduler.top.screen.job_table import format_job_ids
from simple_gpu_scheduler.top.screen.spans import Span


def cancel(reader: QueueReader, jobs: Sequence[int]) -> Span:
    """Cancel jobs, running or not.

    Raises:
        SgsError: the queue can't be changed.
    """
    changed = [entry.id for entry in reader.home.store.cancel(jobs, time.time())]
    return _report(reader, "cancelled", changed, "nothing to cancel: it has ended")


def hold(reader: QueueReader, jobs: Sequence[int]) -> Span:
    """Hold the queued jobs; if there are none, release the held jobs.

    Raises:
        SgsError: as `cancel`.
    """
    store = reader.home.store
    if changed := store.hold(jobs, held=True):
        return _report(reader, "held", changed, "")
    otherwise = "nothing to hold or release: only queued and held jobs can be"
    return _report(reader, "released", store.hold(jobs, held=False), otherwise)


def change_priority(reader: QueueReader, jobs: Sequence[int], by: int) -> Span:
    """Raise or lower the priority of queued and held jobs.

    Raises:
        SgsError: as `cancel`.
    """
    changed = reader.view.change_priority(jobs, by)
    levels = sorted(set(changed.values()))
    now = f"priority {levels[0]}" if len(levels) == 1 else f"priority {'+' if by > 0 else ''}{by}"
    return _report(reader, now, changed, "only queued and held jobs have a priority")


def retry(reader: QueueReader, jobs: Sequence[int]) -> Span:
    """Queue failed, cancelled and lost jobs again.

    Raises:
        SgsError: as `cancel`.
    """
    changed = reader.home.store.retry(jobs)
    return _report(reader, "queued again", changed, "nothing to retry: it hasn't failed")


def _report(reader: QueueReader, change: str, changed: Iterable[int], otherwise: str) -> Span:
    """Wake the server and say what changed; say `otherwise` if nothing did."""
    jobs = list(changed)
    if not jobs:
        return Span(otherwise, "warn")
    reader.home.wake()
    return Span(f"{change}: {format_job_ids(jobs)}", "bold")
