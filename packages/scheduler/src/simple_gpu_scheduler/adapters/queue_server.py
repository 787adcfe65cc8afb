"""The queue's server: starts what is ready where GPUs are free, and writes down how it ended.

It may be killed at any moment: what it knows is in the file of the queue and in the journals of
the launchers, and the next server goes on from there (`queue.recovery`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable

from simple_gpu_scheduler.adapters.launcher import Launcher
from simple_gpu_scheduler.adapters.lease_holder import LeaseHolder
from simple_gpu_scheduler.adapters.queue_launchers import Launchers
from simple_gpu_scheduler.adapters.queue_processes import is_running, kill_tree, marked
from simple_gpu_scheduler.adapters.queue_store import QueueStore
from simple_gpu_scheduler.adapters.queue_wait import QueueWait
from simple_gpu_scheduler.errors import HopelessError, SgsError
from simple_gpu_scheduler.model import (
    Job,
    Phase,
    PipePolicy,
    Plan,
    Running,
    Snapshot,
    Start,
    Stop,
)
from simple_gpu_scheduler.policy import stop as stop_policy
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.queue import LOOKAHEAD
from simple_gpu_scheduler.ports import Lease
from simple_gpu_scheduler.queue.ending import end_of, lost
from simple_gpu_scheduler.queue.journal import Note
from simple_gpu_scheduler.queue.records import FAILED, Attempt, End, Entry
from simple_gpu_scheduler.queue.recovery import Facts, fate

_WINDOW = 2 * LOOKAHEAD
_ORPHAN_CHECK_S = 0.5
_TRY_AGAIN_S = 5.0
_PR_SET_CHILD_SUBREAPER = 36


class _Started:
    """A job that runs, or that a launcher was told to start."""

    def __init__(self, entry: Entry, attempt: Attempt, running: Running, *, ours: bool) -> None:
        self.entry = entry
        self.attempt = attempt
        self.running = running
        self.ours = ours  #: its lease is, too; else an earlier server has started it
        self.orphan = False  #: its launcher is gone
        self.stop = ""  #: why we have stopped it


class QueueServer:
    """One user's server on one machine."""

    def __init__(
        self,
        folder: str,
        store: QueueStore,
        leases: LeaseHolder,
        wait: QueueWait,
        policy: PipePolicy,
        say: Callable[[str], None],
    ) -> None:
        """`say` writes a line to the server's log."""
        self._store = store
        self._leases = leases
        self._wait = wait
        self._policy = policy
        self._say = say
        self._launchers = Launchers(folder, store)
        self._jobs: dict[int, _Started] = {}
        self._ends: list[End] = []  # to be written
        self._begun: list[Attempt] = []  # likewise: processes of attempts
        self._waiting: dict[int, tuple[Entry, Job]] = {}
        self._changed = True
        self._drained = False
        self._stopped = False
        self._try_again_s: float | None = None  # when leases couldn't be had

    def run(self) -> None:
        """Serve until told to stop; jobs that run then run on."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # see `_reap`
        self._recover()
        while not self._stopped:
            self._hear()
            self._write()
            if self._changed:
                self._look_up()
            decided = plan(self._snapshot(), self._policy)
            wake_s = self._stop_what_is_due(decided)
            settled = self._apply(decided)
            if settled and not self._changed and not self._ends:
                self._sleep(wake_s)
        self._leases.settle(None)

    # observe

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            time.monotonic(),
            self._leases.cards,
            [one.running for one in self._jobs.values() if one.ours],
            [job for _, job in self._waiting.values()],
            None,
            Phase.DRAINING if self._drained else Phase.OPEN,
        )

    def _look_up(self) -> None:
        """What is ready, and what is to be stopped, may have changed."""
        self._changed = False
        self._drained = self._store.setting("drained") == "1"
        self._waiting = {
            one.id: (one, _job(one))
            for one in self._store.ready(time.time(), _WINDOW)
            if one.id not in self._jobs
        }
        for job, why in self._store.to_be_stopped():
            one = self._jobs.get(job)
            if one is not None and not one.stop:
                one.stop = why
                self._signal(Stop(one.running, signal.SIGTERM))

    def _hear(self) -> None:
        """What launchers have written down, which of them are gone, and what became of orphans."""
        for launcher in tuple(self._launchers):
            gone = launcher.is_gone()
            for note in launcher.news():
                self._heed(note)
            if gone:
                self._bury(launcher)
        self._reap()
        for one in [one for one in self._jobs.values() if one.orphan]:
            if not is_running(one.attempt) and not self._marked(one):
                self._over(one, lost(one.attempt, time.time(), _UNSEEN, one.stop))

    def _heed(self, note: Note) -> None:
        one = self._jobs.get(note.job)
        if one is None or one.attempt.number != note.attempt:
            return
        if note.what == "runs":
            one.attempt = one.attempt._replace(pid=note.pid, start_ticks=note.start_ticks)
            one.running = one.running._replace(pid=note.pid)
            self._begun.append(one.attempt)
            if one.stop:  # we wanted to stop it before we knew its process
                self._signal(Stop(one.running, signal.SIGTERM))
        elif note.what in ("ended", "broken"):
            self._over(one, end_of(one.entry, one.attempt, note, self._why_stopped(one)))

    def _why_stopped(self, one: _Started) -> str:
        return one.stop or ("timed out" if one.running.timed_out else "")

    def _over(self, one: _Started, end: End) -> None:
        del self._jobs[one.entry.id]
        self._ends.append(end)
        if one.ours:
            self._leases.finish(one.running.job, reuse=not one.running.stopped_s)

    def _write(self) -> None:
        """Group commit: all that was heard, at once."""
        if self._ends or self._begun:
            self._store.went_on(self._begun, self._ends)
            self._begun, self._ends = [], []
            self._changed = True

    def _sleep(self, wake_s: float | None) -> None:
        now_s = time.time()
        later_s = self._store.next_time_s(now_s)
        limits_s = [
            limit_s
            for limit_s in (
                None if wake_s is None else wake_s - time.monotonic(),
                None if later_s is None else later_s - now_s,
                self._leases.look_again_s,
                None if self._try_again_s is None else self._try_again_s - time.monotonic(),
                _ORPHAN_CHECK_S if any(one.orphan for one in self._jobs.values()) else None,
            )
            if limit_s is not None
        ]
        fds = [one.wake_fd for one in self._launchers]
        if self._leases.wake_fd is not None:
            fds.append(self._leases.wake_fd)
        self._try_again_s = None
        woken = self._wait.sleep(min(limits_s) if limits_s else None, fds)
        self._stopped = woken.ended or b"stop" in woken.words
        self._changed = bool(woken.words) or (later_s is not None and later_s <= time.time())
        if woken.fds & {self._leases.wake_fd} or self._leases.look_again_s is not None:
            self._leases.look()

    # apply

    def _stop_what_is_due(self, decided: Plan) -> float | None:
        """Stop jobs at their timeouts, or for good; returns when to look again."""
        theirs = [one.running for one in self._jobs.values() if not one.ours]
        snapshot = Snapshot(time.monotonic(), (), theirs, ())
        stops, next_s = stop_policy.due(snapshot, self._policy.grace_s)
        for one in (*decided.stops, *stops):
            self._signal(one)
        times_s = [at_s for at_s in (decided.wake_s, next_s) if at_s is not None]
        return min(times_s, default=None)

    def _signal(self, stop: Stop) -> None:
        one = self._jobs[stop.running.job.seq]
        one.running = one.running._replace(
            stopped_s=one.running.stopped_s or time.monotonic(),
            killed=stop.signal == signal.SIGKILL,
            timed_out=one.running.timed_out or stop.timed_out,
        )
        if one.attempt.pid is not None:
            kill_tree(one.attempt.pid, self._launchers.mark, one.entry.id, stop.signal)

    def _apply(self, decided: Plan) -> bool:
        """Start what is to start, queue up with others for what has to wait; False: look again."""
        try:
            return self._start(decided.starts) and self._leases.settle(decided.hold) is None
        except HopelessError as error:
            assert decided.hold is not None
            entry, _ = self._waiting.pop(decided.hold.job.seq)
            self._ends.append(End(entry.id, entry.attempt, FAILED, time.time(), reason=str(error)))
            return False
        except SgsError as error:  # it may pass
            self._say(f"error: {error}; trying again in {_TRY_AGAIN_S:g} s")
            self._try_again_s = time.monotonic() + _TRY_AGAIN_S
            return True

    def _start(self, starts: Iterable[Start]) -> bool:
        """Take leases, write down what is to start, have it started; False to look again."""
        taken: list[tuple[_Started, Lease]] = []
        all_taken = True
        for start in starts:
            lease = self._leases.take(start)
            if lease is None:
                all_taken = False
                break
            entry, job = self._waiting.pop(start.job.seq)
            attempt = Attempt(
                entry.id, entry.attempt + 1, self._launchers.name, start.gpus, time.time(),
                boot=self._launchers.boot, memory_mib=job.memory_mib,
            )  # fmt: skip
            running = Running(job, start.gpus, 0, time.monotonic(), attempt.started_s)
            one = _Started(entry, attempt, running, ours=True)
            taken.append((one, lease))
        if taken:
            self._store.start([one.attempt for one, _ in taken])
        for one, lease in taken:
            self._jobs[one.entry.id] = one
            self._launchers.order(one.entry, one.attempt, lease)
        if len(self._waiting) < LOOKAHEAD:
            self._changed = self._changed or bool(taken)
        return all_taken

    # what became of those whose launcher is gone

    def _bury(self, launcher: Launcher) -> None:
        """A launcher is gone: what it had to do is over, orphaned, or was never begun."""
        facts = self._launchers.bury(launcher)
        for one in [o for o in self._jobs.values() if o.attempt.launcher == launcher.name]:
            self._decide(one, facts)

    def _reap(self) -> None:
        """Children: launchers; and jobs whose launcher was killed, which come to us then."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            for one in [o for o in self._jobs.values() if o.attempt.pid == pid and o.orphan]:
                note = Note(
                    "ended",
                    one.entry.id,
                    one.attempt.number,
                    at_s=time.time(),
                    exit_code=code if code >= 0 else None,
                    signal=-code if code < 0 else None,
                )
                self._over(one, end_of(one.entry, one.attempt, note, self._why_stopped(one)))

    def _recover(self) -> None:
        """Go on from where the server before us was, whatever it was doing."""
        facts = self._launchers.facts_at_start()
        for attempt, stop in self._store.running():
            entry = self._store.entry(attempt.job)
            assert entry is not None
            running = Running(_job(entry), attempt.gpu_names, attempt.pid or 0, 0.0, 0.0)
            passed_s = time.time() - attempt.started_s
            running = running._replace(started_s=time.monotonic() - max(0.0, passed_s))
            one = _Started(entry, attempt, running, ours=False)
            one.stop = stop or ""
            self._jobs[entry.id] = one
            self._decide(one, facts)
        self._write()
        self._launchers.forget_the_dead()

    def _decide(self, one: _Started, facts: Facts) -> None:
        """What became of an attempt whose launcher is gone, or was another server's."""
        found = fate(one.attempt, facts)
        runs = facts.notes.get((one.entry.id, one.attempt.number), {}).get("runs")
        if runs is not None:
            self._heed(runs)
        if found.what == "unstart":
            del self._jobs[one.entry.id]
            self._store.unstart([one.entry.id])
            if one.ours:
                self._leases.finish(one.running.job, reuse=False)
            self._changed = True
        elif found.what in ("ended", "broken") and found.note is not None:
            self._over(one, end_of(one.entry, one.attempt, found.note, self._why_stopped(one)))
        elif found.what == "lost":
            self._over(one, lost(one.attempt, time.time(), found.reason, one.stop))
        elif found.what == "adopt" and found.note is not None:
            self._heed(found.note)
            one.orphan = True
        if one.stop and one.attempt.pid is not None and one.entry.id in self._jobs:
            self._signal(Stop(one.running, signal.SIGTERM))

    def _marked(self, one: _Started) -> bool:
        return marked(self._launchers.mark, one.entry.id) is not None


_UNSEEN = "its launcher was killed, and nobody saw how it ended"


def _job(entry: Entry) -> Job:
    return Job(
        entry.id,
        entry.command,
        entry.gpus,
        entry.units,
        entry.timeout_s,
        entry.tries,
        entry.attempt + 1,
        entry.memory_mib,
    )
