"""What the screen asks of the queue, and the answer: records."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.store import pages as queue_view
from simple_gpu_scheduler.top.screen.details import JobFacts
from simple_gpu_scheduler.top.screen.header import Server
from simple_gpu_scheduler.top.screen.scroll import Scroll

_OPEN = (queue_view.RUNS, queue_view.READY, queue_view.BLOCKED, queue_view.HOLDS)

#: What can be listed, and in which order.
VIEWS = {
    "all": (*_OPEN, queue_view.ENDED),
    "open": _OPEN,
    "ended": (queue_view.ENDED,),
}


class Query(NamedTuple):
    """What to read."""

    view: str = "all"
    words: tuple[str, ...] = ()  #: only jobs that match all of them
    scroll: Scroll = Scroll()
    rows: int = 0  #: lines of the list on the screen
    job: int | None = None  #: the job of a full-screen page; None: the chosen job


class QueueState(NamedTuple):
    """What was read."""

    counts: dict[str, int]  #: of all jobs, by state
    total: int  #: jobs in the view
    scroll: Scroll
    first: int  #: the line of the first of the entries
    entries: tuple[QueuedJob, ...]  #: those on the screen, and a screen before and after
    stopping: frozenset[int]  #: jobs that run and are to end
    on_gpus: tuple[tuple[int, tuple[str, ...]], ...]  #: jobs and their GPUs
    server: Server
    slots: tuple[str, ...]  #: the GPUs that were chosen for the queue; empty: all
    subject: QueuedJob | None  #: the job that was asked about
    facts: JobFacts  #: about the subject
    left: (
        QueuedJob | None
    )  #: the job that the cursor went with, and that isn't in the view any more

    def position(self, job: int | None) -> int | None:
        """The line of a job, if it was read."""
        lines = (line for line, entry in enumerate(self.entries, self.first) if entry.id == job)
        return next(lines, None)

    def entry(self, position: int) -> QueuedJob | None:
        """The job in that line, if it was read."""
        at = position - self.first
        return self.entries[at] if 0 <= at < len(self.entries) else None
