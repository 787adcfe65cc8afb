"""The queue's server: starts ready jobs where GPUs are free, and records how jobs end.

Each turn observes, plans and applies; `planner` plans and writes. Then the server sleeps until a
message, a signal, a launcher or a changed lease wakes it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.policy import termination
from simple_gpu_scheduler.policy.model import PipePolicy, Plan, Snapshot
from simple_gpu_scheduler.queue.mailbox import Mailbox, cancelled
from simple_gpu_scheduler.queue.server.launchers import Launchers
from simple_gpu_scheduler.queue.server.notifications import Notifier
from simple_gpu_scheduler.queue.server.observer import Observer
from simple_gpu_scheduler.queue.server.pause import TRY_AGAIN_S, StartPause
from simple_gpu_scheduler.queue.server.planner import Decision, Planner
from simple_gpu_scheduler.queue.server.processes import ended_child, reap
from simple_gpu_scheduler.queue.server.running import RunningJobs
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from simple_gpu_scheduler.system.failpoints import step

#: What was written is on the disk after so long at most.
_SYNC_S = 0.05

#: The longest sleep while a job starts later: the clock may be set, or the machine may sleep.
_CLOCK_LIMIT_S = 30.0

#: So long after a start, the server reads the process from the journal; launchers don't wake it.
_READ_STARTS_S = 0.05

_PR_SET_CHILD_SUBREAPER = 36


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
        self._launchers = launchers
        self._notifier = notifier
        self._grace_s = policy.grace_s
        self._log = log
        self._pause = StartPause(log)
        self._running = RunningJobs(store, allocator, launchers, observer, log)
        self._planner = Planner(
            store, allocator, launchers, observer, self._running, self._pause, policy, keep_free
        )
        self._stopped = False
        self._must_notify = False
        self.is_to_begin_anew = False  #: True if another file has taken the place of the queue's
        # On the monotonic clock; None: not at all.
        self._notify_again_s: float | None = None
        self._unsynced_since_s: float | None = None
        self._started_s: float | None = None  # the last start whose process wasn't read yet

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
                decision = self._planner.write_and_take()
            except SgsError as error:
                self._pause.begin(error)
                return self._apply_without_writing()
            self._on_written(decision)
            for start in decision.taken:
                self._running.start(start.entry, start.attempt, start.job, start.lease)
                step("ordered")
            if decision.taken:
                self._started_s = time.monotonic()
            for remark in self._allocator.remarks():
                self._log(remark)
            wake_s = self._stop_due_jobs(decision.plan)
            if decision.is_out_of_date or not self._planner.settle(decision.plan.hold):
                continue
            if not self._planner.has_unwritten:
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
        self._planner.settle(None)
        return self._stop_due_jobs(None)

    def _on_written(self, decision: Decision) -> None:
        """Plan the next sync, and notify submitters."""
        if decision.wrote:
            self._sync_soon()
        if decision.may_notify or self._must_notify:
            self._must_notify = not self._notifier.poll()
            self._notify_again_s = time.monotonic() + TRY_AGAIN_S if self._must_notify else None

    def _stop_due_jobs(self, plan: Plan | None) -> float | None:
        """Signal jobs at their timeouts, and those that don't end after a signal.

        Args:
            plan: has the stops of jobs with leases of ours; None: there is no plan.

        Returns:
            When the next job is due, on the monotonic clock.
        """
        jobs = self._running.running(ours=False)
        stops, next_s = ((), None) if plan is None else (plan.stops, plan.wake_s)
        if plan is None:
            jobs += self._running.running(ours=True)
        if jobs:
            snapshot = Snapshot(time.monotonic(), (), jobs, ())
            more, then_s = termination.due(snapshot, self._grace_s)
            stops = (*stops, *more)
            next_s = min((s for s in (next_s, then_s) if s is not None), default=None)
        for stop in stops:
            self._running.signal(stop)
        return next_s

    def _sync_soon(self) -> None:
        self._unsynced_since_s = self._unsynced_since_s or time.monotonic()

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
        if not self._planner.has_unwritten:
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
        if self._planner.later_s is not None:
            limits_s.append(min(self._planner.later_s - time.time(), _CLOCK_LIMIT_S))
        return min((limit_s for limit_s in limits_s if limit_s is not None), default=None)

    def _sleep(self, limit_s: float | None) -> None:
        """Sleep, and handle what ends the sleep."""
        fds = [launcher.wake_fd for launcher in self._launchers]
        if self._allocator.wake_fd is not None:
            fds.append(self._allocator.wake_fd)
        mail = self._mailbox.sleep(limit_s, fds)
        self._stopped = mail.ended or b"stop" in mail.messages
        if jobs := list(cancelled(mail.messages)):
            self._planner.cancel(jobs)
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
                    self._running.recover_launcher(self._launchers.remove(launcher), launcher.name)
                    self._sync_soon()  # then its journal goes, also if nothing else happens
                elif launcher.answers and not answered:
                    self._running.recover_launcher(
                        self._launchers.evidence_of(launcher), launcher.name
                    )

    def _reap_children(self) -> None:
        """Reap ended children: launchers, notifications, and jobs whose launcher was killed.

        The launchers are read before each is reaped. Else the death of a launcher might be noticed
        after the kernel has forgotten how its jobs ended.
        """
        while (pid := ended_child()) is not None:
            self._read_launchers(frozenset(), all_of_them=True)
            self._running.on_child_ended(pid, reap(pid))
            self._notifier.on_child_ended(pid)
