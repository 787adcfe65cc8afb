"""The first jobs of the queue that are ready, read again only when the queue has changed.

So a turn of the server costs the same for a queue of any length.
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
    """The first jobs that wait for GPUs alone."""

    def __init__(
        self,
        store: QueueStore,
        with_estimate: Callable[[Job], Job],
        impossible: Callable[[Job], str | None],
    ) -> None:
        """Read nothing yet.

        Args:
            store: the queue's file.
            with_estimate: returns the job with the memory that it is known to need.
            impossible: says why a job can never start; None if it can.
        """
        self._store = store
        self._with_estimate = with_estimate
        self._impossible = impossible
        self.rejected: list[tuple[QueuedJob, str]] = []  #: jobs that can never start, and why
        self._entries: dict[int, QueuedJob] = {}
        self._jobs: dict[int, Job] = {}  # the same jobs, as plans see them
        self._has_more = True
        self._version = -1
        self.drained = False
        self.later_s: float | None = None  #: the next start time of a job that starts later
        self.is_stale = True  #: True if the server itself has changed which jobs are ready

    def refresh(self, running: Container[int]) -> bool:
        """Read the jobs again if they may have changed.

        Args:
            running: jobs that are left out, as the server has started them.

        Returns:
            True if somebody else has written to the queue's file since the last call.
        """
        version = self._store.version()
        changed = version != self._version
        is_due = self.later_s is not None and self.later_s <= time.time()
        runs_short = self._has_more and len(self._jobs) < LOOKAHEAD
        if changed or self.is_stale or is_due or runs_short:
            self._version = version
            self._read(running)
        return changed

    def _read(self, running: Container[int]) -> None:
        now_s = time.time()
        self._store.release_due(now_s)
        entries = self._store.ready(now_s, _MOST)
        self._has_more = len(entries) == _MOST
        self._entries, self._jobs, self.rejected = {}, {}, []
        for entry in entries:
            if entry.id in running:
                continue
            job = self._with_estimate(job_of(entry))
            why = self._impossible(job)
            if why is None:
                self._entries[entry.id] = entry
                self._jobs[entry.id] = job
            else:
                self.rejected.append((entry, why))
        self.later_s = self._store.next_time_s()
        self.drained = self._store.setting("drained") == "1"
        self.is_stale = False

    @property
    def jobs(self) -> list[Job]:
        """The jobs in the order of their turn."""
        return list(self._jobs.values())

    def take(self, job: int) -> QueuedJob:
        """Remove a job, as it waits no longer."""
        del self._jobs[job]
        return self._entries.pop(job)
