"""The running jobs of a server: what launchers report, how jobs are stopped, and how they end.

What the server has to write is kept in `ends`, `begun` and `unbegun` until it is written.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.policy.model import Running, Stop
from simple_gpu_scheduler.queue.attempt_end import TIMED_OUT, end_of, lost
from simple_gpu_scheduler.queue.journal import JournalEntry
from simple_gpu_scheduler.queue.records import Attempt, AttemptEnd, QueuedJob
from simple_gpu_scheduler.queue.recovery import Evidence, verdict
from simple_gpu_scheduler.queue.server.launchers import Launchers
from simple_gpu_scheduler.queue.server.observer import Observer
from simple_gpu_scheduler.queue.server.processes import with_exact_start
from simple_gpu_scheduler.queue.server.running_job import RunningJob, earlier_job
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from simple_gpu_scheduler.system.proc import ticks_at

#: How often to check orphans, and the remaining processes of stopped jobs.
_ORPHAN_CHECK_S, _TREE_CHECK_S = 0.5, 0.1

_UNKNOWN_STATUS = "its launcher was killed, so its exit status is unknown"


class RunningJobs:
    """All running jobs, by number."""

    def __init__(
        self,
        store: QueueStore,
        allocator: Allocator,
        launchers: Launchers,
        observer: Observer,
        log: Callable[[str], None],
    ) -> None:
        """`log` writes a line to the server's log."""
        self._store = store
        self._allocator = allocator
        self._launchers = launchers
        self._observer = observer
        self._log = log
        self._jobs: dict[int, RunningJob] = {}
        self.ends: list[AttemptEnd] = []
        self.begun: list[Attempt] = []
        self.unbegun: list[int] = []  #: jobs that were to be started and never were
        self._unrecorded: list[RunningJob] = []  # their processes are not in the file yet
        self.requeued = False  #: True if jobs of `unbegun` are ready again
        self.freed = False  #: True if a job has ended, so that others may start
        self.lack = ""  #: why the last start had no process; empty if it had one
        self.lacks_again = False  #: True if another start had no process

    def __contains__(self, job: object) -> bool:
        return job in self._jobs

    def running(self, *, ours: bool) -> list[Running]:
        """Return the jobs with leases of ours, or those that an earlier server has started."""
        return [job.running for job in self._jobs.values() if job.ours == ours]

    def launchers(self) -> frozenset[str]:
        """Return the names of the launchers that were ordered to start these jobs."""
        return frozenset(job.attempt.launcher for job in self._jobs.values())

    @property
    def poll_in_s(self) -> float | None:
        """Seconds until the next `poll`; mostly None, as launchers report all ends."""
        polled = [job for job in self._jobs.values() if job.needs_polling]
        if polled:
            return _TREE_CHECK_S if any(job.end for job in polled) else _ORPHAN_CHECK_S
        return self._observer.poll_in_s(self._by_pid())

    def start(self, entry: QueuedJob, attempt: Attempt, planned: Job, lease: Lease) -> None:
        """Order the start of an attempt that is in the queue's file."""
        running = Running(planned, attempt.gpu_names, 0, time.monotonic(), attempt.started_s)
        job = RunningJob(entry, attempt, running, self._launchers.mark, ours=True)
        self._jobs[entry.id] = job
        if not self._launchers.order(entry, attempt, planned, lease):
            self._unstart(job)

    # what launchers report

    def on_entry(self, entry: JournalEntry) -> None:
        """Handle an entry of a launcher's journal."""
        job = self._jobs.get(entry.job)
        if job is None or job.attempt.number != entry.attempt:
            return
        if entry.kind == "runs":
            self._on_process(job, entry)
        elif entry.kind in ("ended", "broken", "unbegun"):
            if entry.kind == "unbegun":
                self.lack, self.lacks_again = entry.reason, True
            self._on_end(job, entry)

    def _on_process(self, job: RunningJob, entry: JournalEntry) -> None:
        job.set_process(entry)
        self._unrecorded.append(job)
        self.lack = ""
        if job.stop_reason:  # it was to be stopped before its process was known
            self.signal(Stop(job.running, signal.SIGTERM))

    def record_processes(self) -> None:
        """Have the processes of jobs that still run written, with their exact start times."""
        for job in self._unrecorded:
            if job.end is None and self._jobs.get(job.entry.id) is job:
                job.attempt = with_exact_start(job.attempt)
                self.begun.append(job.attempt)
        self._unrecorded = []

    def _on_end(self, job: RunningJob, entry: JournalEntry) -> None:
        """Handle the end of the first process. A stopped job is over once its tree is gone."""
        job.end = entry
        job.held_ticks = max(job.held_ticks, ticks_at(entry.at_s))
        job.is_orphan = False
        if job.stop_reason:
            if job.tree.members() and not job.running.killed:
                return
        elif job.entry.kill_leftovers and job.tree.members():
            self.signal(Stop(job.running, signal.SIGTERM))
            return
        self._judge(job, entry)

    def _judge(self, job: RunningJob, entry: JournalEntry) -> None:
        """Decide how a job ended, from its exit status and what was observed."""
        failed = job.stop_reason == TIMED_OUT or (entry.exit_code != 0 and not job.stop_reason)
        observed = self._observer.observe_end(job.running, job.attempt, failed=failed)
        observed = observed._replace(stopped=job.stop_reason)
        leftovers = () if job.stop_reason else job.tree.leftovers()
        if leftovers:
            text = f"left processes running: {', '.join(map(str, leftovers))}"
            observed = observed._replace(remarks=(*observed.remarks, text))
        if failed and job.ours:
            observed = observed._replace(gpu_fault=self._gpu_fault(job))
        end = end_of(job.entry, job.attempt, job.running.job, entry, observed)
        self._finish(job, end, reuse=not leftovers)

    def _gpu_fault(self, job: RunningJob) -> str:
        try:
            return self._allocator.fault(job.running.gpus) or ""
        except SgsError:
            return ""

    def _lose(self, job: RunningJob, reason: str) -> None:
        """End a job whose exit status is unknown. Processes that may still live keep its lease."""
        end = lost(job.entry, job.attempt, time.time(), reason, job.stop_reason)
        if job.ours:
            self._allocator.abandon(job.running.job)
            job.ours = False
        self._finish(job, end)

    def _finish(self, job: RunningJob, end: AttemptEnd, *, reuse: bool = True) -> None:
        del self._jobs[job.entry.id]
        self.freed = True
        self.ends.append(end)
        if end.reason:
            self._log(f"job {end.job}, attempt {end.attempt}: {end.state}; {end.reason}")
        if job.ours:
            self._allocator.finish(job.running.job, reuse=reuse and not job.running.stopped_s)

    def _unstart(self, job: RunningJob) -> None:
        """Queue a job again that was never started; end it if it was to be stopped."""
        del self._jobs[job.entry.id]
        self.unbegun.append(job.entry.id)
        self.requeued = True
        if job.stop_reason:
            attempt = job.attempt._replace(number=0)
            self.ends.append(lost(job.entry, attempt, time.time(), "", job.stop_reason))
        if job.ours:
            self._allocator.finish(job.running.job, reuse=False)

    # what launchers don't report

    def poll(self) -> None:
        """Check orphans and the trees of stopped jobs, and measure the memory of all jobs."""
        for job in [job for job in self._jobs.values() if job.needs_polling]:
            if job.end is None:
                self._check_orphan(job)
            elif job.running.killed or not job.tree.members():
                self._judge(job, job.end)
        for text in self._observer.poll(self._by_pid()):
            self._log(text)

    def _check_orphan(self, job: RunningJob) -> None:
        if job.check_process():
            return
        if job.tree.first() is None:
            self._lose(job, _UNKNOWN_STATUS)
        elif job.entry.kill_leftovers and not job.running.stopped_s:
            self.signal(Stop(job.running, signal.SIGTERM))

    def on_child_ended(self, pid: int, code: int) -> None:
        """Handle the end of a child. Jobs whose launcher was killed become our children."""
        for job in list(self._jobs.values()):
            if job.is_orphan and job.attempt.pid == pid:
                exit_code, number = (None, -code) if code < 0 else (code, None)
                at_s = time.time()
                attempt = job.attempt.number
                end = JournalEntry("ended", job.entry.id, attempt, pid, 0, at_s, exit_code)
                self._on_end(job, end._replace(signal=number))

    def _by_pid(self) -> dict[int, Running]:
        return {job.running.pid: job.running for job in self._jobs.values() if job.running.pid}

    # stops

    def request_stops(self, requests: Iterable[tuple[int, str]]) -> None:
        """Stop jobs, each for a reason; those that are being stopped already keep theirs."""
        for number, reason in requests:
            job = self._jobs.get(number)
            if job is not None and not job.stop_reason:
                job.stop_reason = reason
                self.signal(Stop(job.running, signal.SIGTERM))

    def signal(self, stop: Stop) -> None:
        """Signal all processes of a job."""
        job = self._jobs[stop.running.job.seq]
        job.running = job.running._replace(
            stopped_s=job.running.stopped_s or time.monotonic(),
            killed=stop.signal == signal.SIGKILL,
        )
        if stop.timed_out and not job.stop_reason:
            job.stop_reason = TIMED_OUT
            self._record_stop(job)
        job.check_process()  # its first process may end before the others of its session
        job.tree.signal(stop.signal)

    def _record_stop(self, job: RunningJob) -> None:
        try:
            self._store.stop(job.entry.id, job.stop_reason)
        except SgsError as error:  # only the next server would miss the reason
            self._log(f"error: {error}")

    # attempts whose launcher is gone, or that an earlier server has started

    def recover(self) -> None:
        """Continue from where the server before us was killed or stopped."""
        evidence = self._launchers.evidence_at_start()
        for attempt, stop_reason in self._store.running():
            entry = self._store.entry(attempt.job)
            assert entry is not None
            job = earlier_job(entry, attempt, self._launchers.mark, stop_reason or "")
            self._jobs[entry.id] = job
            self._recover_attempt(job, evidence)
        self.record_processes()

    def recover_launcher(self, evidence: Evidence, launcher: str) -> None:
        """Recover all attempts of a launcher that is gone, or that answers at last."""
        for job in list(self._jobs.values()):
            if job.attempt.launcher == launcher:
                self._recover_attempt(job, evidence)

    def _recover_attempt(self, job: RunningJob, evidence: Evidence) -> None:
        decision = verdict(job.attempt, evidence)
        entries = evidence.entries.get((job.entry.id, job.attempt.number), {})
        if "runs" in entries and job.attempt.boot == evidence.boot:
            self.on_entry(entries["runs"])
        if decision.action == "unstart":
            self._unstart(job)
        elif decision.action in ("ended", "broken") and decision.entry is not None:
            self._on_end(job, decision.entry)
        elif decision.action == "lost":
            self._lose(job, decision.reason)
        elif decision.action == "adopt" and decision.entry is not None:
            job.is_orphan = True
            self.on_entry(decision.entry)
            job.check_process()
        if job.stop_reason and job.entry.id in self._jobs and not job.running.stopped_s:
            self.signal(Stop(job.running, signal.SIGTERM))
