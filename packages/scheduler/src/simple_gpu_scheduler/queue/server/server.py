"""The queue's server: starts what is ready where GPUs are free, and writes down how it ended.

It may be killed at any moment: what it knows is in the file of the queue and in the journals of
the launchers, and the next server goes on from there (`queue.recovery`).
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
from simple_gpu_scheduler.queue.server.running import RunningJobs, code_of, ended_child
from simple_gpu_scheduler.queue.store.jobs import LACK, QueueStore
from simple_gpu_scheduler.system.failpoints import step

#: Where something can't be had, such as leases, or room on the disk: try again, and say so again.
_TRY_AGAIN_S, _SAY_AGAIN_S = 5.0, 600.0

#: Where no process can be had: try again after so long, and ever more rarely.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 60.0

#: What was written is on the disk after so long at most.
_SYNC_S = 0.05

#: While a job is to start at a time: somebody may set the clock, or have the machine sleep.
_CLOCK_LIMIT_S = 30.0

#: After so long we see which processes our starts have become; launchers don't wake us for that.
_SEE_STARTS_S = 0.05

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
        leases: Allocator,
        wait: Mailbox,
        launchers: Launchers,
        sight: Observer,
        notifier: Notifier,
        policy: PipePolicy,
        say: Callable[[str], None],
        keep_free: int = 0,
    ) -> None:
        """`say` writes a line to the server's log; `keep_free` GPUs are left to others."""
        self._store = store
        self._leases = leases
        self._wait = wait
        self._policy = policy
        self._say = say
        self._launchers = launchers
        self._notifier = notifier
        self._sight = sight
        self._active = RunningJobs(store, leases, launchers, sight, say)
        self._window = QueueHead(store, sight.asked, self._impossible)
        self._rejected: list[
            AttemptEnd
        ] = []  # jobs that can't ever run any more, or are cancelled
        self._keep_free = keep_free
        self._stopped = False
        self.is_to_begin_anew = False  #: the queue's file is another one by now
        self._to_notify = True
        self._notify_s: float | None = None  # when to try that again
        self._unsynced_s: float | None = None  # since when something is to be synced
        self._started_s: float | None = None  # when something was started that we saw no more of
        self._try_again_s: float | None = None  # until then nothing is started
        self._said, self._said_s = "", 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._kept_lack = store.setting(LACK) or ""

    def run(self) -> None:
        """Serve until told to stop; jobs that run then run on."""
        # Jobs whose launcher is killed become ours: we see how they end.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._active.recover()
        step("recovered")
        while not self._stopped:
            wake_s = self._turn()
            self._sync()
            self._sleep(wake_s)
        self._leases.settle(None)
        self._store.sync()

    def _turn(self) -> float | None:
        """Observe, plan, apply, until nothing is left to do now; returns when to look again."""
        self._active.poll()
        while True:
            self._on_lack()
            try:
                decided, taken, all_taken = self._write_and_take()
            except SgsError as error:
                self._later(error)
                return self._go_on_unwritten()
            for one in taken:
                self._active.start(one.entry, one.attempt, one.job, one.lease)
                step("ordered")
            if taken:
                self._started_s = time.monotonic()
            for remark in self._leases.remarks():
                self._say(remark)
            wake_s = self._stop_what_is_due(decided)
            if all_taken and self._settle(decided.hold) and not self._news:
                return wake_s

    def _on_lack(self) -> None:
        """Start nothing for a while if none could be started, unless something has ended."""
        active = self._active
        if active.lacks_anew:
            if not self._is_to_wait():
                self._later(SgsError(f"no job can be started: {active.lack}"), self._pause_s)
                self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)
        elif active.freed:
            self._try_again_s = None
        if not active.lack:
            self._pause_s = _FIRST_PAUSE_S
        active.freed = active.lacks_anew = False

    def _go_on_unwritten(self) -> float | None:
        """What can't wait until there is room: jobs are stopped, and GPUs are given back."""
        self._notify_s = None
        self._settle(None)
        return self._stop_what_is_due(None)

    @property
    def _news(self) -> bool:
        """True if something is to be written."""
        active = self._active
        return bool(active.ends or active.begun or active.unbegun or self._rejected)

    # observe and plan

    def _write_and_take(self) -> tuple[Plan, list[_Taken], bool]:
        """What has ended and what starts in its place, as one commit: a group commit.

        Raises:
            SgsError: it can't be written; then nothing was.
        """
        ended, rejected = list(self._active.ends), list(self._rejected)
        ends = [*ended, *rejected]
        begun, unbegun = list(self._active.begun), list(self._active.unbegun)
        taken: list[_Taken] = []
        lack = self._active.lack
        try:
            with self._store.together():
                if lack != self._kept_lack:
                    self._store.set(LACK, lack)
                if unbegun:
                    self._store.unstart(unbegun)
                if ends or begun:
                    step("heard")
                    self._window.is_stale |= self._store.went_on(begun, ends)
                decided = self._plan()
                all_taken = self._take(decided.starts, taken)
                self._store.start([one.attempt for one in taken])
        except BaseException:
            for one in taken:
                self._leases.finish(one.job, reuse=False)
            self._window.is_stale = True
            raise
        step("written")
        self._kept_lack = lack
        del self._active.unbegun[: len(unbegun)]
        self._forget(len(ended), len(rejected), len(begun), wrote=bool(taken or unbegun))
        return decided, taken, all_taken

    def _plan(self) -> Plan:
        self._window.is_stale |= self._active.again or self._sight.has_learned
        self._active.again = self._sight.has_learned = False
        if self._window.refresh(self._active):
            self._active.request_stops(self._store.to_be_stopped())
            self._to_notify = True
        for entry, why in self._window.rejected:
            self._reject(entry, why)
        self._window.rejected = []
        phase = Phase.DRAINING if self._window.drained else Phase.OPEN
        running = self._active.running(ours=True)
        waiting = [] if self._is_to_wait() else self._window.jobs
        now_s = time.monotonic()
        return plan(
            Snapshot(now_s, self._leases.cards, running, waiting, None, phase), self._policy
        )

    def _is_to_wait(self) -> bool:
        if self._try_again_s is not None and time.monotonic() >= self._try_again_s:
            self._try_again_s = None
        return self._try_again_s is not None

    def _forget(self, ended: int, rejected: int, begun: int, *, wrote: bool) -> None:
        """What is written need not be kept."""
        if ended or rejected or begun or wrote:
            self._unsynced_s = self._unsynced_s or time.monotonic()
        del self._active.ends[:ended]
        del self._active.begun[:begun]
        del self._rejected[:rejected]
        if ended or rejected or self._to_notify:
            self._to_notify = not self._notifier.poll()
            self._notify_s = time.monotonic() + _TRY_AGAIN_S if self._to_notify else None

    # apply

    def _take(self, starts: Sequence[Start], taken: list[_Taken]) -> bool:
        """Take the leases; False if others were faster."""
        if not starts:
            return True
        try:
            launcher = self._launchers.name  # before we have leases that would be in the way
            for start in starts:
                lease = self._leases.take(start)
                if lease is None:
                    return False
                taken.append(self._taken(start, lease, launcher))
                step("leased")
        except SgsError as error:  # what has ended is to be written all the same
            self._later(error)
        return True

    def _taken(self, start: Start, lease: Lease, launcher: str) -> _Taken:
        job, gpus = start
        entry = self._window.take(job.seq)
        attempt = Attempt(
            entry.id, entry.attempt + 1, launcher, gpus, time.time(),
            boot=self._launchers.boot, memory_mib=job.memory_mib,
        )  # fmt: skip
        return _Taken(entry, attempt, job, lease)

    def _stop_what_is_due(self, decided: Plan | None) -> float | None:
        """Stop jobs at their timeouts, or for good; returns when to look again.

        Args:
            decided: says it of those with leases of ours; None: nothing was decided.
        """
        others = self._active.running(ours=False)
        stops, next_s = ((), None) if decided is None else (decided.stops, decided.wake_s)
        if decided is None:
            others += self._active.running(ours=True)
        if others:
            snapshot = Snapshot(time.monotonic(), (), others, ())
            more, then_s = termination.due(snapshot, self._policy.grace_s)
            stops = (*stops, *more)
            next_s = min((s for s in (next_s, then_s) if s is not None), default=None)
        for one in stops:
            self._active.signal(one)
        return next_s

    def _settle(self, hold: Hold | None) -> bool:
        """Queue up with others for the job that has to wait; False: plan again."""
        try:
            return self._leases.settle(hold) is None
        except HopelessError as error:
            assert hold is not None
            entry = self._window.take(hold.job.seq)
            self._reject(entry, str(error))
            return False
        except SgsError as error:
            self._later(error)
            return True

    def _impossible(self, job: Job) -> str | None:
        cards = self._leases.cards
        kept = f" ({self._keep_free} to be kept free)" if self._keep_free else ""
        why = impossible(job, len(cards) - self._keep_free) or impossible(job, len(cards), cards)
        return None if why is None else why + kept

    def _reject(self, entry: QueuedJob, why: str) -> None:
        """The job can't ever have its GPUs; others may have theirs."""
        self._rejected.append(AttemptEnd(entry.id, 0, FAILED, time.time(), reason=why))

    def _cancel(self, jobs: Sequence[int]) -> None:
        """Cancel jobs by word: there is no room to write it. It is written before any start."""
        self._active.request_stops((job, CANCELLED) for job in jobs)
        others = [job for job in jobs if job not in self._active]
        try:
            found = self._store.entries(jobs=others, states=OPEN_STATES)
        except SgsError as error:
            self._later(error)
            return
        now_s = time.time()
        self._rejected += [AttemptEnd(one.id, 0, CANCELLED, now_s) for one in found]
        self._window.is_stale = True

    def _later(self, error: SgsError, in_s: float = _TRY_AGAIN_S) -> None:
        """It may pass: start nothing before it is time to try again."""
        now_s = time.monotonic()
        self._try_again_s = now_s + in_s
        if str(error) != self._said or now_s > self._said_s + _SAY_AGAIN_S:
            self._said, self._said_s = str(error), now_s
            self._say(f"error: {error}; trying again in {in_s:g} s")

    def _sync(self) -> None:
        """Have on the disk what was written a little while ago."""
        if self._unsynced_s is None or time.monotonic() < self._unsynced_s + _SYNC_S:
            return
        try:
            self._store.sync()
        except SgsError as error:
            self._later(error)
            return
        self._unsynced_s = None
        if not self._news:
            self._launchers.forget_the_dead(self._active.launchers())
        self._launchers.retire_the_old()

    # sleep and hear

    def _sleep(self, wake_s: float | None) -> None:
        now_s = time.monotonic()
        later_s = self._window.later_s
        at_s = [wake_s, self._try_again_s, self._notify_s]
        at_s += [None if since_s is None else since_s + limit_s for since_s, limit_s in (
            (self._unsynced_s, _SYNC_S), (self._started_s, _SEE_STARTS_S),
        )]  # fmt: skip
        in_s = [None if one is None else one - now_s for one in at_s]
        in_s += [self._leases.refresh_in_s, self._active.poll_in_s]
        in_s.append(None if later_s is None else min(later_s - time.time(), _CLOCK_LIMIT_S))
        self._wake(min((one for one in in_s if one is not None), default=None))

    def _wake(self, limit_s: float | None) -> None:
        """Sleep, and hear why it ended."""
        fds = [one.wake_fd for one in self._launchers]
        if self._leases.wake_fd is not None:
            fds.append(self._leases.wake_fd)
        woken = self._wait.sleep(limit_s, fds)
        self._stopped = woken.ended or b"stop" in woken.words
        if jobs := list(cancelled(woken.words)):
            self._cancel(jobs)
        if woken.words and not self._stopped and not self._store.file.is_in_place():
            self._say(f"the queue's file was moved away from {self._store.file.path}")
            self._stopped = self.is_to_begin_anew = True
        if woken.fds & {self._leases.wake_fd} or self._leases.refresh_in_s is not None:
            self._refresh_leases()
        see_starts = self._started_s is not None and (
            time.monotonic() >= self._started_s + _SEE_STARTS_S
        )
        if see_starts:
            self._started_s = None
        self._hear(woken.fds, everybody=see_starts or b"look" in woken.words)
        if see_starts:
            self._active.note_processes()
        if woken.children:
            self._reap()

    def _reap(self) -> None:
        """Children have ended, some of them jobs that became ours as their launcher was killed.

        That is to be known before the kernel forgets how they ended.
        """
        while (pid := ended_child()) is not None:
            self._hear(frozenset(), everybody=True)
            self._active.reap(pid, code_of(pid))
            self._notifier.reap(pid)

    def _refresh_leases(self) -> None:
        try:
            self._leases.refresh()
        except SgsError as error:
            self._later(error)

    def _hear(self, fds: frozenset[int], *, everybody: bool) -> None:
        """What launchers have written down, and which of them are gone."""
        for launcher in tuple(self._launchers):
            if everybody or launcher.wake_fd in fds:
                answered = launcher.answers
                for note in launcher.news():
                    self._active.on_entry(note)
                if launcher.is_gone():
                    self._active.decide(self._launchers.bury(launcher), launcher.name)
                elif launcher.answers and not answered:
                    self._active.decide(self._launchers.facts_of(launcher), launcher.name)
