"""The queue's server: starts ready jobs where GPUs are free, and records how jobs end.

A turn observes, plans and applies. Everything that the file must have is written as one
transaction in `_write_and_take`: one sync serves many starts and ends.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.errors import HopelessError, SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.policy import termination
from simple_gpu_scheduler.policy.model import Hold, Phase, PipePolicy, Plan, Snapshot, Start
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.queue.mailbox import Mailbox, cancelled
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
from simple_gpu_scheduler.queue.server.notifications import Notifier
from simple_gpu_scheduler.queue.server.observer import Observer
from simple_gpu_scheduler.queue.server.pause import TRY_AGAIN_S, StartPause
from simple_gpu_scheduler.queue.server.processes import ended_child, reap
from simple_gpu_scheduler.queue.server.running import RunningJobs
from simple_gpu_scheduler.queue.store.jobs import LACK, QueueStore
from simple_gpu_scheduler.system.failpoints import step

#: What was written is on the disk after so long at most.
_SYNC_S = 0.05

#: The longest sleep while a job starts later: the clock may be set, or the machine may sleep.
_CLOCK_LIMIT_S = 30.0

#: So long after a start, the server reads the process from the journal; launchers don't wake it.
_READ_STARTS_S = 0.05

_PR_SET_CHILD_SUBREAPER = 36


class _Taken(NamedTuple):
    """A job that has its lease, and is about to start."""

    entry: QueuedJob
    attempt: Attempt
    job: Job
    lease: Lease


class QueueServer:
    """One user's server on one machine."""

    def __init__(
        self,
        store: QueueStore,
        allocator: Allocator,
        mailbox: Mailbox,
        launchers: Launchers,
        observer: Observer,
        notifier: Notifier,
        policy: PipePolicy,
        log: Callable[[str], None],
        keep_free: int = 0,
    ) -> None:
        """`log` writes a line to the server's log; `keep_free` GPUs are left to others."""
        self._store = store
        self._allocator = allocator
        self._mailbox = mailbox
        self._policy = policy
        self._log = log
        self._launchers = launchers
        self._notifier = notifier
        self._observer = observer
        self._running = RunningJobs(store, allocator, launchers, observer, log)
        self._head = QueueHead(store, observer.with_estimate, self._impossible)
        self._pause = StartPause(log)
        self._rejected: list[AttemptEnd] = []  # ends of jobs that are never started
        self._keep_free = keep_free
        self._stopped = False
        self.is_to_begin_anew = False  #: True if another file has taken the place of the queue's
        self._must_notify = True
        # On the monotonic clock; None: not at all.
        self._notify_again_s: float | None = None
        self._unsynced_since_s: float | None = None
        self._started_s: float | None = None  # the last start whose process wasn't read yet
        self._recorded_lack = store.setting(LACK)

    def run(self) -> None:
        """Serve until a message or a signal ends the server. Running jobs continue."""
        # Jobs whose launcher is killed become our children, so that we see how they end.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._running.recover()
        step("recovered")
        while not self._stopped:
            wake_s = self._turn()
            self._sync()
            self._sleep(self._sleep_limit_s(wake_s))
        self._allocator.settle(None)
        self._store.sync()

    def _turn(self) -> float | None:
        """Observe, plan and apply until nothing is left to do.

        Returns:
            When a running job has to be stopped, on the monotonic clock.
        """
        self._running.poll()
        while True:
            self._update_pause()
            try:
                decided, taken, all_taken = self._write_and_take()
            except SgsError as error:
                self._pause.begin(error)
                return self._apply_without_writing()
            for start in taken:
                self._running.start(start.entry, start.attempt, start.job, start.lease)
                step("ordered")
            if taken:
                self._started_s = time.monotonic()
            for remark in self._allocator.remarks():
                self._log(remark)
            wake_s = self._stop_due_jobs(decided)
            if all_taken and self._settle(decided.hold) and not self._has_unwritten:
                return wake_s

    def _update_pause(self) -> None:
        """Pause the starts if no process could be started, unless a job has ended meanwhile."""
        running = self._running
        if running.lacks_again:
            self._pause.begin_without_processes(running.lack)
        elif running.freed:
            self._pause.end()
        if not running.lack:
            self._pause.reset_length()
        running.freed = running.lacks_again = False

    def _apply_without_writing(self) -> float | None:
        """Do what can't wait until the disk has room: stop jobs, and give GPUs back."""
        self._notify_again_s = None
        self._settle(None)
        return self._stop_due_jobs(None)

    @property
    def _has_unwritten(self) -> bool:
        """True if something is to be written."""
        running = self._running
        return bool(running.ends or running.begun or running.unbegun or self._rejected)

    # observe and plan

    def _write_and_take(self) -> tuple[Plan, list[_Taken], bool]:
        """Write what has ended, plan, take leases, and write what starts: in one transaction.

        Raises:
            SgsError: it can't be written; then nothing was, and no lease is kept.
        """
        ended, rejected = list(self._running.ends), list(self._rejected)
        ends = [*ended, *rejected]
        begun, unbegun = list(self._running.begun), list(self._running.unbegun)
        taken: list[_Taken] = []
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
        del self._running.unbegun[: len(unbegun)]
        self._on_written(len(ended), len(rejected), len(begun), wrote=bool(taken or unbegun))
        return decided, taken, all_taken

    def _plan(self) -> Plan:
        self._head.is_stale |= self._running.requeued or self._observer.has_learned
        self._running.requeued = self._observer.has_learned = False
        if self._head.refresh(self._running):
            self._running.request_stops(self._store.to_be_stopped())
            self._must_notify = True
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

    def _on_written(self, ended: int, rejected: int, begun: int, *, wrote: bool) -> None:
        """Forget what is written, and notify submitters."""
        if ended or rejected or begun or wrote:
            self._unsynced_since_s = self._unsynced_since_s or time.monotonic()
        del self._running.ends[:ended]
        del self._running.begun[:begun]
        del self._rejected[:rejected]
        if ended or rejected or self._must_notify:
            self._must_notify = not self._notifier.poll()
            self._notify_again_s = time.monotonic() + TRY_AGAIN_S if self._must_notify else None

    def _impossible(self, job: Job) -> str | None:
        """Say why a job can never start; None if it can."""
        gpus = self._allocator.cards
        kept = f" ({self._keep_free} to be kept free)" if self._keep_free else ""
        why = impossible(job, len(gpus) - self._keep_free) or impossible(job, len(gpus), gpus)
        return None if why is None else why + kept

    def _reject(self, entry: QueuedJob, why: str) -> None:
        """End a job that can never start."""
        self._rejected.append(AttemptEnd(entry.id, 0, FAILED, time.time(), reason=why))

    # apply

    def _take(self, starts: Sequence[Start], taken: list[_Taken]) -> bool:
        """Take the leases of planned starts, and add them to `taken`.

        Returns:
            False if others were faster, so that the plan is out of date.
        """
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

    def _taken(self, start: Start, lease: Lease, launcher: str) -> _Taken:
        job, gpus = start
        entry = self._head.take(job.seq)
        attempt = Attempt(
            entry.id, entry.attempt + 1, launcher, gpus, time.time(),
            boot=self._launchers.boot, memory_mib=job.memory_mib,
        )  # fmt: skip
        return _Taken(entry, attempt, job, lease)

    def _stop_due_jobs(self, decided: Plan | None) -> float | None:
        """Signal jobs at their timeouts, and those that don't end after a signal.

        Args:
            decided: has the stops of jobs with leases of ours; None: there is no plan.

        Returns:
            When the next job is due, on the monotonic clock.
        """
        jobs = self._running.running(ours=False)
        stops, next_s = ((), None) if decided is None else (decided.stops, decided.wake_s)
        if decided is None:
            jobs += self._running.running(ours=True)
        if jobs:
            snapshot = Snapshot(time.monotonic(), (), jobs, ())
            more, then_s = termination.due(snapshot, self._policy.grace_s)
            stops = (*stops, *more)
            next_s = min((s for s in (next_s, then_s) if s is not None), default=None)
        for stop in stops:
            self._running.signal(stop)
        return next_s

    def _settle(self, hold: Hold | None) -> bool:
        """Give back unused leases, and wait in line for the held job; False: plan again."""
        try:
            return self._allocator.settle(hold) is None
        except HopelessError as error:
            assert hold is not None
            entry = self._head.take(hold.job.seq)
            self._reject(entry, str(error))
            return False
        except SgsError as error:
            self._pause.begin(error)
            return True

    def _cancel(self, jobs: Sequence[int]) -> None:
        """Cancel jobs for a command that had no room to write it. We write it before any start."""
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

    def _sync(self) -> None:
        """Put what was written on the disk, a short time after it was written."""
        if self._unsynced_since_s is None:
            return
        if time.monotonic() < self._unsynced_since_s + _SYNC_S:
            return
        try:
            self._store.sync()
        except SgsError as error:
            self._pause.begin(error)
            return
        self._unsynced_since_s = None
        if not self._has_unwritten:
            self._launchers.remove_dead_journals(self._running.launchers())
        self._launchers.retire_if_old()

    # sleep, and read what has happened

    def _sleep_limit_s(self, wake_s: float | None) -> float | None:
        """Return how long to sleep at most; None: until something happens."""
        times_s = [wake_s, self._pause.until_s, self._notify_again_s]
        if self._unsynced_since_s is not None:
            times_s.append(self._unsynced_since_s + _SYNC_S)
        if self._started_s is not None:
            times_s.append(self._started_s + _READ_STARTS_S)
        now_s = time.monotonic()
        limits_s = [None if time_s is None else time_s - now_s for time_s in times_s]
        limits_s += [self._allocator.refresh_in_s, self._running.poll_in_s]
        if self._head.later_s is not None:
            limits_s.append(min(self._head.later_s - time.time(), _CLOCK_LIMIT_S))
        return min((limit_s for limit_s in limits_s if limit_s is not None), default=None)

    def _sleep(self, limit_s: float | None) -> None:
        """Sleep, and handle what ends the sleep."""
        fds = [launcher.wake_fd for launcher in self._launchers]
        if self._allocator.wake_fd is not None:
            fds.append(self._allocator.wake_fd)
        mail = self._mailbox.sleep(limit_s, fds)
        self._stopped = mail.ended or b"stop" in mail.messages
        if jobs := list(cancelled(mail.messages)):
            self._cancel(jobs)
        if mail.messages and not self._stopped and not self._store.file.is_in_place():
            self._log(f"the queue's file was moved away from {self._store.file.path}")
            self._stopped = self.is_to_begin_anew = True
        if self._allocator.wake_fd in mail.fds or self._allocator.refresh_in_s is not None:
            self._refresh_leases()
        reads_starts = (
            self._started_s is not None and time.monotonic() >= self._started_s + _READ_STARTS_S
        )
        if reads_starts:
            self._started_s = None
        self._read_launchers(mail.fds, all_of_them=reads_starts or b"look" in mail.messages)
        if reads_starts:
            self._running.record_processes()
        if mail.children:
            self._reap_children()

    def _refresh_leases(self) -> None:
        try:
            self._allocator.refresh()
        except SgsError as error:
            self._pause.begin(error)

    def _read_launchers(self, fds: frozenset[int], *, all_of_them: bool) -> None:
        """Read what launchers report, and decide about the attempts of those that are gone.

        Args:
            fds: descriptors that can be read; other launchers have reported nothing.
            all_of_them: read all launchers nevertheless.
        """
        for launcher in tuple(self._launchers):
            if all_of_them or launcher.wake_fd in fds:
                answered = launcher.answers
                for entry in launcher.news():
                    self._running.on_entry(entry)
                if launcher.is_gone():
                    self._running.decide(self._launchers.remove(launcher), launcher.name)
                elif launcher.answers and not answered:
                    self._running.decide(self._launchers.evidence_of(launcher), launcher.name)

    def _reap_children(self) -> None:
        """Reap ended children: launchers, notifications, and jobs whose launcher was killed.

        The launchers are read before each is reaped. Else the death of a launcher might be noticed
        after the kernel has forgotten how its jobs ended.
        """
        while (pid := ended_child()) is not None:
            self._read_launchers(frozenset(), all_of_them=True)
            self._running.on_child_ended(pid, reap(pid))
            self._notifier.on_child_ended(pid)
