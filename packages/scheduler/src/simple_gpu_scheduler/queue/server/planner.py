"""Plans the starts of a server, and writes them with the ends of jobs in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.errors import HopelessError, SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.policy.model import Hold, Phase, PipePolicy, Plan, Snapshot, Start
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    FAILED,
    OPEN_STATES,
    Attempt,
    AttemptEnd,
    QueuedJob,
)
from simple_gpu_scheduler.queue.server.head import QueueHead
from simple_gpu_scheduler.queue.server.launchers import Launchers
from simple_gpu_scheduler.queue.server.observer import Observer
from simple_gpu_scheduler.queue.server.pause import StartPause
from simple_gpu_scheduler.queue.server.running import RunningJobs
from simple_gpu_scheduler.queue.store.jobs import LACK, QueueStore
from simple_gpu_scheduler.system.failpoints import step


class TakenStart(NamedTuple):
    """A job that has its lease and stands in the queue's file as running. It isn't ordered yet."""

    entry: QueuedJob
    attempt: Attempt
    job: Job
    lease: Lease


class Decision(NamedTuple):
    """What one transaction has planned and written."""

    plan: Plan
    taken: list[TakenStart]
    is_out_of_date: bool  #: True if others took GPUs first: plan again
    may_notify: bool  #: True if jobs may have ended whose submitters want to know
    wrote: bool  #: True if anything was written


class Planner:
    """Decides which jobs start, and keeps the queue's file up to date."""

    def __init__(
        self,
        store: QueueStore,
        allocator: Allocator,
        launchers: Launchers,
        observer: Observer,
        running: RunningJobs,
        pause: StartPause,
        policy: PipePolicy,
        keep_free: int,
    ) -> None:
        """`keep_free` GPUs are left to others."""
        self._store = store
        self._allocator = allocator
        self._launchers = launchers
        self._observer = observer
        self._running = running
        self._pause = pause
        self._policy = policy
        self._keep_free = keep_free
        self._head = QueueHead(store, observer.with_estimate, self._impossible)
        self._rejected: list[AttemptEnd] = []  # ends of jobs that are never started
        self._recorded_lack = store.setting(LACK)
        self._others_wrote = True  # since the last transaction

    @property
    def later_s(self) -> float | None:
        """The next start time of a job that starts later, on the wall clock."""
        return self._head.later_s

    @property
    def has_unwritten(self) -> bool:
        """True if something is to be written."""
        running = self._running
        return bool(running.ends or running.begun or running.unbegun or self._rejected)

    def write_and_take(self) -> Decision:
        """Write what has ended, plan, take leases, and write what starts: in one transaction.

        Raises:
            SgsError: it can't be written; then nothing was, and no lease is kept.
        """
        ended, rejected = list(self._running.ends), list(self._rejected)
        ends = [*ended, *rejected]
        begun, unbegun = list(self._running.begun), list(self._running.unbegun)
        taken: list[TakenStart] = []
        lack = self._running.lack
        try:
            with self._store.transaction():
                if lack != self._recorded_lack:
                    self._store.set(LACK, lack)
                if unbegun:
                    self._store.unstart(unbegun)
                if ends or begun:
                    step("heard")
                    self._head.is_stale |= self._store.record(begun, ends)
                decided = self._plan()
                all_taken = self._take(decided.starts, taken)
                self._store.start([start.attempt for start in taken])
        except BaseException:
            for start in taken:
                self._allocator.finish(start.job, reuse=False)
            self._head.is_stale = True
            raise
        step("written")
        self._recorded_lack = lack
        del self._running.ends[: len(ended)]
        del self._running.begun[: len(begun)]
        del self._running.unbegun[: len(unbegun)]
        del self._rejected[: len(rejected)]
        wrote = bool(ends or begun or unbegun or taken)
        may_notify, self._others_wrote = bool(ends) or self._others_wrote, False
        return Decision(decided, taken, not all_taken, may_notify, wrote)

    def _plan(self) -> Plan:
        self._head.is_stale |= self._running.requeued or self._observer.has_learned
        self._running.requeued = self._observer.has_learned = False
        if self._head.refresh(self._running):
            self._running.request_stops(self._store.to_be_stopped())
            self._others_wrote = True
        for entry, why in self._head.rejected:
            self._reject(entry, why)
        self._head.rejected = []
        phase = Phase.DRAINING if self._head.drained else Phase.OPEN
        running = self._running.running(ours=True)
        waiting = [] if self._pause.is_on() else self._head.jobs
        now_s = time.monotonic()
        return plan(
            Snapshot(now_s, self._allocator.cards, running, waiting, None, phase), self._policy
        )

    def _take(self, starts: Sequence[Start], taken: list[TakenStart]) -> bool:
        """Take the leases of planned starts into `taken`; False if others took GPUs first."""
        if not starts:
            return True
        try:
            launcher = self._launchers.name  # first, as this may fail
            for start in starts:
                lease = self._allocator.take(start)
                if lease is None:
                    return False
                taken.append(self._taken(start, lease, launcher))
                step("leased")
        except SgsError as error:  # ends are to be written all the same
            self._pause.begin(error)
        return True

    def _taken(self, start: Start, lease: Lease, launcher: str) -> TakenStart:
        job, gpus = start
        entry = self._head.take(job.seq)
        attempt = Attempt(
            entry.id, entry.attempt + 1, launcher, gpus, time.time(),
            boot=self._launchers.boot, memory_mib=job.memory_mib,
        )  # fmt: skip
        return TakenStart(entry, attempt, job, lease)

    def settle(self, hold: Hold | None) -> bool:
        """Give back unused leases, and wait in line for the held job; False: plan again."""
        try:
            return self._allocator.settle(hold) is None
        except HopelessError as error:
            assert hold is not None
            self._reject(self._head.take(hold.job.seq), str(error))
            return False
        except SgsError as error:
            self._pause.begin(error)
            return True

    def cancel(self, jobs: Sequence[int]) -> None:
        """Cancel jobs for a command that has no room to write it. We write it before any start."""
        self._running.request_stops((job, CANCELLED) for job in jobs)
        others = [job for job in jobs if job not in self._running]
        try:
            entries = self._store.entries(jobs=others, states=OPEN_STATES)
        except SgsError as error:
            self._pause.begin(error)
            return
        now_s = time.time()
        self._rejected += [AttemptEnd(entry.id, 0, CANCELLED, now_s) for entry in entries]
        self._head.is_stale = True

    def _impossible(self, job: Job) -> str | None:
        """Say why a job can never start; None if it can."""
        gpus = self._allocator.cards
        kept = f" ({self._keep_free} to be kept free)" if self._keep_free else ""
        why = impossible(job, len(gpus) - self._keep_free) or impossible(job, len(gpus), gpus)
        return None if why is None else why + kept

    def _reject(self, entry: QueuedJob, why: str) -> None:
        """End a job that can never start."""
        self._rejected.append(AttemptEnd(entry.id, 0, FAILED, time.time(), reason=why))
