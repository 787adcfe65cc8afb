"""What is wished to be seen of the queue, and what was seen: records."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.store import pages as queue_view
from simple_gpu_scheduler.top.screen.details import Known
from simple_gpu_scheduler.top.screen.header import Server
from simple_gpu_scheduler.top.screen.scroll import Place

_OPEN = (queue_view.RUNS, queue_view.READY, queue_view.BLOCKED, queue_view.HOLDS)

#: What can be listed, and in which order.
VIEWS = {
    "all": (*_OPEN, queue_view.ENDED),
    "open": _OPEN,
    "ended": (queue_view.ENDED,),
}


class Wish(NamedTuple):
    """What is to be seen."""

    view: str = "all"
    words: tuple[str, ...] = ()  #: only jobs of which each of them tells something
    place: Place = Place()
    rows: int = 0  #: lines of the list on the screen
    job: int | None = None  #: what is asked about; None: the chosen one


class Seen(NamedTuple):
    """What was there."""

    counts: dict[str, int]  #: of all jobs, by state
    total: int  #: jobs in the view
    place: Place
    first: int  #: the line of the first of the entries
    entries: tuple[QueuedJob, ...]  #: those on the screen, and a screen before and after
    stopping: frozenset[int]  #: jobs that run and are to end
    on_gpus: tuple[tuple[int, tuple[str, ...]], ...]  #: jobs and their GPUs
    server: Server
    slots: tuple[str, ...]  #: the GPUs that were chosen for the queue; empty: all
    subject: QueuedJob | None  #: the job that was asked about
    known: Known  #: of the subject
    left: (
        QueuedJob | None
    )  #: the job that the cursor went with, and that isn't in the view any more

    def position(self, job: int | None) -> int | None:
        """The line of a job, if it was read."""
        places = (place for place, one in enumerate(self.entries, self.first) if one.id == job)
        return next(places, None)

    def entry(self, position: int) -> QueuedJob | None:
        """The job in that line, if it was read."""
        place = position - self.first
        return self.entries[place] if 0 <= place < len(self.entries) else None
