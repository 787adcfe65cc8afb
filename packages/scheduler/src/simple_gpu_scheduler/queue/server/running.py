"""The queue's jobs that run: what launchers tell of them, how they are stopped, how they end.

What is learned here is kept in `ends`, `begun` and `unbegun` until the server has written it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.policy.model import Running, Stop
from simple_gpu_scheduler.queue.journal import JournalEntry
from simple_gpu_scheduler.queue.outcome import TIMED_OUT, end_of, lost
from simple_gpu_scheduler.queue.records import Attempt, AttemptEnd, QueuedJob, job_of
from simple_gpu_scheduler.queue.recovery import Evidence, verdict
from simple_gpu_scheduler.queue.server.launchers import Launchers
from simple_gpu_scheduler.queue.server.observer import Observer
from simple_gpu_scheduler.queue.server.processes import JobTree, exactly, is_running
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from simple_gpu_scheduler.system.proc import age_s, boot_ticks, ticks_at

#: How often to look whether orphans, or the rest of stopped jobs' process trees, have gone.
_ORPHAN_CHECK_S, _TREE_CHECK_S = 0.5, 0.1

_UNSEEN = "its launcher was killed, and nobody saw how it ended"


class RunningJob:
    """A job that runs, or that a launcher was told to start."""

    def __init__(
        self, entry: QueuedJob, attempt: Attempt, running: Running, *, ours: bool
    ) -> None:
        self.entry = entry
        self.attempt = attempt
        self.running = running
        self.ours = ours  #: its lease is, too; else an earlier server has started it
        self.orphan = False  #: its launcher is gone
        self.stop = ""  #: why we have stopped it
        self.ended: JournalEntry | None = None  #: its process has; its tree may not
        self.held_ticks = 0  #: when its process was last seen: until then its number was its own

    @property
    def is_odd(self) -> bool:
        """True if nobody tells when it is over."""
        return self.orphan or self.ended is not None


class RunningJobs:
    """All of them, by number."""

    def __init__(
        self,
        store: QueueStore,
        leases: Allocator,
        launchers: Launchers,
        sight: Observer,
        say: Callable[[str], None],
    ) -> None:
        """`say` writes a line to the server's log."""
        self._store = store
        self._leases = leases
        self._launchers = launchers
        self._sight = sight
        self._say = say
        self._jobs: dict[int, RunningJob] = {}
        self.ends: list[AttemptEnd] = []
        self.begun: list[Attempt] = []
        self.unbegun: list[int] = []
        self._fresh: list[RunningJob] = []  # processes that aren't written down yet
        self.again = False  #: some that were to be started never were: they wait again
        self.freed = False  #: something has ended: there may be room for another
        self.lack = ""  #: why no process could be had the last time; empty if one could
        self.lacks_anew = False

    def __contains__(self, job: object) -> bool:
        return job in self._jobs

    def running(self, *, ours: bool) -> list[Running]:
        """Those with leases of ours, or those that an earlier server has started."""
        return [one.running for one in self._jobs.values() if one.ours == ours]

    def launchers(self) -> frozenset[str]:
        """Those that were told to start them."""
        return frozenset(one.attempt.launcher for one in self._jobs.values())

    @property
    def poll_in_s(self) -> float | None:
        """How soon to look again where nobody tells; mostly None."""
        odd = [one for one in self._jobs.values() if one.is_odd]
        if odd:
            ending = any(one.ended is not None for one in odd)
            return _TREE_CHECK_S if ending else _ORPHAN_CHECK_S
        return self._sight.poll_in_s(self._by_pid())

    def start(self, entry: QueuedJob, attempt: Attempt, job: Job, lease: Lease) -> None:
        """Have an attempt started that is written down."""
        running = Running(job, attempt.gpu_names, 0, time.monotonic(), attempt.started_s)
        one = self._jobs[entry.id] = RunningJob(entry, attempt, running, ours=True)
        if not self._launchers.order(entry, attempt, job, lease):
            self._unstart(one)

    # what becomes of them

    def on_entry(self, note: JournalEntry) -> None:
        """Take note of what a launcher has written down."""
        one = self._jobs.get(note.job)
        if one is None or one.attempt.number != note.attempt:
            return
        if note.what == "runs":
            self._runs(one, note)
        elif note.what in ("ended", "broken", "unbegun"):
            if note.what == "unbegun":
                self.lack, self.lacks_anew = note.reason, True
            self._ended(one, note)

    def _runs(self, one: RunningJob, note: JournalEntry) -> None:
        one.attempt = one.attempt._replace(
            pid=note.pid, start_ticks=note.start_ticks, last_ticks=note.last_ticks
        )
        one.running = _with_process(one)
        self._fresh.append(one)
        self.lack = ""
        if one.stop:  # we wanted to stop it before we knew its process
            self.signal(Stop(one.running, signal.SIGTERM))

    def note_processes(self) -> None:
        """Have the processes of those that still run written down, who they are exactly."""
        for one in self._fresh:
            if one.ended is None and self._jobs.get(one.entry.id) is one:
                one.attempt = exactly(one.attempt)
                self.begun.append(one.attempt)
        self._fresh = []

    def _ended(self, one: RunningJob, note: JournalEntry) -> None:
        """Its process has ended. One that we stop is over once all of its processes are gone."""
        one.ended = note
        one.held_ticks = max(one.held_ticks, ticks_at(note.at_s))
        one.orphan = False
        if one.stop:
            if self._tree(one).members() and not one.running.killed:
                return
        elif one.entry.kill_leftovers and self._tree(one).members():
            self.signal(Stop(one.running, signal.SIGTERM))
            return
        self._judge(one, note)

    def _judge(self, one: RunningJob, note: JournalEntry) -> None:
        """How it ended, with what was seen of it."""
        failed = one.stop == TIMED_OUT or (note.exit_code != 0 and not one.stop)
        seen = self._sight.of(one.running, one.attempt, failed=failed)._replace(stopped=one.stop)
        left = () if one.stop else self._tree(one).leftovers()
        if left:
            text = f"left processes running: {', '.join(map(str, left))}"
            seen = seen._replace(remarks=(*seen.remarks, text))
        if failed and one.ours:
            seen = seen._replace(gpu_fault=self._fault(one))
        self._over(
            one, end_of(one.entry, one.attempt, one.running.job, note, seen), reuse=not left
        )

    def _fault(self, one: RunningJob) -> str:
        try:
            return self._leases.fault(one.running.gpus) or ""
        except SgsError:
            return ""

    def _lose(self, one: RunningJob, reason: str) -> None:
        """Nobody knows how it ended, or whether: who of it may live keeps its lease."""
        end = lost(one.entry, one.attempt, time.time(), reason, one.stop)
        if one.ours:
            self._leases.abandon(one.running.job)
            one.ours = False
        self._over(one, end)

    def _over(self, one: RunningJob, end: AttemptEnd, *, reuse: bool = True) -> None:
        del self._jobs[one.entry.id]
        self.freed = True
        self.ends.append(end)
        if end.reason:
            self._say(f"job {end.job}, attempt {end.attempt}: {end.state}; {end.reason}")
        if one.ours:
            self._leases.finish(one.running.job, reuse=reuse and not one.running.stopped_s)

    def poll(self) -> None:
        """At what nobody tells of: orphans, trees of stopped jobs, what jobs have on GPUs."""
        for one in [one for one in self._jobs.values() if one.is_odd]:
            if one.ended is not None:
                if one.running.killed or not self._tree(one).members():
                    self._judge(one, one.ended)
            else:
                self._check_orphan(one)
        for text in self._sight.poll(self._by_pid()):
            self._say(text)

    def _check_orphan(self, one: RunningJob) -> None:
        if self._lives(one):
            return
        if self._tree(one).first() is None:
            self._lose(one, _UNSEEN)
        elif one.entry.kill_leftovers and not one.running.stopped_s:
            self.signal(Stop(one.running, signal.SIGTERM))

    def _lives(self, one: RunningJob) -> bool:
        """Whether its process does."""
        now_ticks = boot_ticks()
        lives = is_running(one.attempt)
        if lives:
            one.held_ticks = now_ticks
        return lives

    def reap(self, pid: int, code: int) -> None:
        """A child has ended: a job whose launcher was killed comes to us, who are its reaper."""
        for one in [one for one in self._jobs.values() if one.orphan and one.attempt.pid == pid]:
            code_or_none, number = (None, -code) if code < 0 else (code, None)
            at_s = time.time()
            note = JournalEntry(
                "ended", one.entry.id, one.attempt.number, pid, 0, at_s, code_or_none
            )
            self._ended(one, note._replace(signal=number))

    def decide(self, facts: Evidence, launcher: str) -> None:
        """A launcher is gone, or answers at last: see what became of all that it had to do."""
        for one in [one for one in self._jobs.values() if one.attempt.launcher == launcher]:
            self._decide(one, facts)

    # how they are stopped

    def request_stops(self, wanted: Iterable[tuple[int, str]]) -> None:
        """Stop jobs that somebody wants to be stopped."""
        for job, why in wanted:
            one = self._jobs.get(job)
            if one is not None and not one.stop:
                one.stop = why
                self.signal(Stop(one.running, signal.SIGTERM))

    def signal(self, stop: Stop) -> None:
        """Signal all processes of a job."""
        one = self._jobs[stop.running.job.seq]
        one.running = one.running._replace(
            stopped_s=one.running.stopped_s or time.monotonic(),
            killed=stop.signal == signal.SIGKILL,
        )
        if stop.timed_out and not one.stop:
            one.stop = TIMED_OUT
            self._keep_stop(one)
        self._lives(one)  # it may be the first to end, and leave others in its session
        self._tree(one).signal(stop.signal)

    def _keep_stop(self, one: RunningJob) -> None:
        try:
            self._store.stop(one.entry.id, one.stop)
        except SgsError as error:  # the next server would not know why it has ended, no more
            self._say(f"error: {error}")

    # what became of those that an earlier server has started

    def recover(self) -> None:
        """Go on from where the server before us was, whatever it was doing."""
        facts = self._launchers.facts_at_start()
        for attempt, stop in self._store.running():
            entry = self._store.entry(attempt.job)
            assert entry is not None
            ago_s = max(0.0, time.time() - attempt.started_s)  # until its process is known
            running = Running(
                job_of(entry), attempt.gpu_names, 0, time.monotonic() - ago_s, attempt.started_s
            )
            one = RunningJob(entry, attempt, running, ours=False)
            one.running = _with_process(one)
            one.stop = stop or ""
            self._jobs[entry.id] = one
            self._decide(one, facts)
        self.note_processes()

    def _decide(self, one: RunningJob, facts: Evidence) -> None:
        """What became of an attempt whose launcher is gone, or was another server's."""
        found = verdict(one.attempt, facts)
        runs = facts.notes.get((one.entry.id, one.attempt.number), {}).get("runs")
        if runs is not None and one.attempt.boot == facts.boot:
            self.on_entry(runs)
        if found.what == "unstart":
            self._unstart(one)
        elif found.what in ("ended", "broken") and found.note is not None:
            self._ended(one, found.note)
        elif found.what == "lost":
            self._lose(one, found.reason)
        elif found.what == "adopt" and found.note is not None:
            one.orphan = True
            self.on_entry(found.note)
            self._lives(one)
        if one.stop and one.entry.id in self._jobs and not one.running.stopped_s:
            self.signal(Stop(one.running, signal.SIGTERM))

    def _unstart(self, one: RunningJob) -> None:
        """It never was: it waits again, or is over if it was to be stopped."""
        del self._jobs[one.entry.id]
        self.unbegun.append(one.entry.id)
        self.again = True
        if one.stop:
            self.ends.append(
                lost(one.entry, one.attempt._replace(number=0), time.time(), "", one.stop)
            )
        if one.ours:
            self._leases.finish(one.running.job, reuse=False)

    def _tree(self, one: RunningJob) -> JobTree:
        return JobTree(self._launchers.mark, one.attempt, one.held_ticks)

    def _by_pid(self) -> dict[int, Running]:
        return {one.running.pid: one.running for one in self._jobs.values() if one.running.pid}


def _with_process(one: RunningJob) -> Running:
    """With what its process tells; of one that we haven't started, also since when it runs."""
    running, attempt = one.running._replace(pid=one.attempt.pid or 0), one.attempt
    if one.ours or not attempt.start_ticks:
        return running
    return running._replace(started_s=time.monotonic() - age_s(attempt.start_ticks))


def ended_child() -> int | None:
    """A child that has ended; the kernel keeps how, until `code_of` asks."""
    try:
        seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if seen is None else seen.si_pid


def code_of(pid: int) -> int:
    """The exit code of a child that has ended; negative: a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
