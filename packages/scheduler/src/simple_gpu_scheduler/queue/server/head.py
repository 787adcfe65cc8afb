"""The jobs that are next: a window on the queue, which is read anew only where it has changed.

So a turn of the server costs the same, however long the queue is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.dispatch import LOOKAHEAD
from simple_gpu_scheduler.queue.records import QueuedJob, job_of
from simple_gpu_scheduler.queue.store.jobs import QueueStore

_MOST = 4 * LOOKAHEAD


class QueueHead:
    """The first jobs that nothing but GPUs keeps from starting."""

    def __init__(
        self,
        store: QueueStore,
        asked: Callable[[Job], Job],
        impossible: Callable[[Job], str | None],
    ) -> None:
        """`asked` gives a job with what it is known to need; `impossible` says why it never can
        have that, if so.
        """
        self._store = store
        self._asked = asked
        self._impossible = impossible
        self.rejected: list[tuple[QueuedJob, str]] = []  #: jobs that never can start, and why
        self._entries: dict[int, QueuedJob] = {}
        self._jobs: dict[int, Job] = {}  # the same, as plans see them
        self._has_more = True
        self._version = -1
        self.drained = False
        self.later_s: float | None = None  #: when the next of those that start later may start
        self.is_stale = True  #: what we did ourselves has changed what is next

    def refresh(self, active: Container[int]) -> bool:
        """See what is next; True if somebody else has written since the last time."""
        version = self._store.version()
        changed = version != self._version
        late = self.later_s is not None and self.later_s <= time.time()
        few = self._has_more and len(self._jobs) < LOOKAHEAD
        if changed or self.is_stale or late or few:
            self._version = version
            self._read(active)
        return changed

    def _read(self, active: Container[int]) -> None:
        now_s = time.time()
        self._store.release_due(now_s)
        found = self._store.ready(now_s, _MOST)
        self._has_more = len(found) == _MOST
        asked = [(one, self._asked(job_of(one))) for one in found if one.id not in active]
        why_not = {job.seq: self._impossible(job) for _, job in asked}
        self._entries = {one.id: one for one, _ in asked if why_not[one.id] is None}
        self._jobs = {job.seq: job for _, job in asked if job.seq in self._entries}
        self.rejected = [(one, why) for one, job in asked if (why := why_not[job.seq])]
        self.later_s = self._store.next_time_s()
        self.drained = self._store.setting("drained") == "1"
        self.is_stale = False

    @property
    def jobs(self) -> list[Job]:
        """In the order of their turn."""
        return list(self._jobs.values())

    def take(self, job: int) -> QueuedJob:
        """This one waits no more."""
        del self._jobs[job]
        return self._entries.pop(job)
