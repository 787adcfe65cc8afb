"""The records that go between the screen and the reader: a query, and the state of the queue."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.store import pages as queue_view
from simple_gpu_scheduler.top.screen.details import JobFacts
from simple_gpu_scheduler.top.screen.header import Server
from simple_gpu_scheduler.top.screen.scroll import Scroll

_OPEN = (queue_view.RUNS, queue_view.READY, queue_view.BLOCKED, queue_view.HOLDS)

#: The views of the list, and the order of the sections in each.
VIEWS = {
    "all": (*_OPEN, queue_view.ENDED),
    "open": _OPEN,
    "ended": (queue_view.ENDED,),
}


class Query(NamedTuple):
    """What to read."""

    view: str = "all"
    filter_words: tuple[str, ...] = ()  #: read only the jobs that match all of them
    scroll: Scroll = Scroll()
    rows: int = 0  #: how many lines of the list are on the screen
    job: int | None = None  #: the job of a full-screen page; None: the selected job


class QueueState(NamedTuple):
    """What was read."""

    counts: dict[str, int]  #: the number of all jobs in each state
    total: int  #: the number of jobs in the view
    scroll: Scroll
    first: int  #: the line number of the first entry
    entries: tuple[QueuedJob, ...]  #: jobs on the screen, and one screen before and after
    stopping: frozenset[int]  #: running jobs that were cancelled
    on_gpus: tuple[tuple[int, tuple[str, ...]], ...]  #: running jobs and their GPUs
    server: Server
    slots: tuple[str, ...]  #: the GPUs that the queue may use; empty: all
    subject: QueuedJob | None  #: the job whose log or facts are shown
    facts: JobFacts  #: more facts about the subject
    left: QueuedJob | None  #: the job that the cursor followed, if it has left the view

    def find_line(self, job: int | None) -> int | None:
        """The line number of a job; None if the job was not read."""
        lines = (line for line, entry in enumerate(self.entries, self.first) if entry.id == job)
        return next(lines, None)

    def entry_at(self, line: int) -> QueuedJob | None:
        """The job in a line; None if it was not read."""
        index = line - self.first
        return self.entries[index] if 0 <= index < len(self.entries) else None
