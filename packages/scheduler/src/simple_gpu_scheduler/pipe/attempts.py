"""The attempts that run: stops them, and finishes them with their whole process tree."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.memory.oom import says_out_of_memory
from simple_gpu_scheduler.pipe.events import Ended
from simple_gpu_scheduler.pipe.exit_status import after_stop, judge_exit, tally_of
from simple_gpu_scheduler.pipe.intake import Intake
from simple_gpu_scheduler.pipe.ports import Clock, Leases
from simple_gpu_scheduler.pipe.reporter import Reporter
from simple_gpu_scheduler.pipe.shutdown import Shutdown
from simple_gpu_scheduler.policy import reasons
from simple_gpu_scheduler.policy.fit import most_memory_mib
from simple_gpu_scheduler.policy.model import Phase, Running, Stop
from simple_gpu_scheduler.policy.outcome import AttemptResult, Outcome, OutcomeKind, decide
from simple_gpu_scheduler.processes.ports import Runner
from simple_gpu_scheduler.processes.records import Exit, Leftover

if TYPE_CHECKING:
    from simple_gpu_scheduler.memory.monitor import MemoryMonitor

#: How often to check whether the rest of a stopped job's process tree is gone.
_TREE_CHECK_S = 0.1


class Attempts:
    """The running attempts, by process id. An attempt keeps its lease until it is finished."""

    def __init__(
        self,
        *,
        runner: Runner,
        leases: Leases,
        clock: Clock,
        intake: Intake,
        reporter: Reporter,
        shutdown: Shutdown,
        memory_monitor: MemoryMonitor | None,
        kill_leftovers: bool,
    ) -> None:
        """`kill_leftovers`: end the processes that a job leaves behind."""
        self.running: dict[int, Running] = {}
        self._runner = runner
        self._leases = leases
        self._clock = clock
        self._intake = intake
        self._reporter = reporter
        self._shutdown = shutdown
        self._memory_monitor = memory_monitor
        self._kill_leftovers = kill_leftovers
        self._ending: dict[int, Ended] = {}  # attempts whose process tree may not be gone yet
        self._reported_pids: set[int] = set()  # of leftovers

    @property
    def check_in_s(self) -> float | None:
        """How soon to `reap` again though no process ends; None if that isn't needed."""
        return _TREE_CHECK_S if self._ending else None

    def add(self, running: Running) -> None:
        """Add an attempt that has been started."""
        self.running[running.pid] = running
        self._reporter.report(running)

    def stop(self, stop: Stop) -> None:
        """Send a signal to the whole process tree of an attempt."""
        running = stop.running
        if stop.reason:
            self._reporter.notify(f"job {running.job.seq} {stop.reason}")
        self.running[running.pid] = after_stop(running, stop, self._clock.now_s())
        self._runner.signal(running.pid, running.job.seq, stop.signal)

    def reap(self) -> bool:
        """Finish the attempts that have ended; True if a process has ended."""
        has_ended = False
        while (exit_ := self._runner.reap()) is not None:
            has_ended = True
            ended = self._judge(self.running[exit_.pid], exit_)
            if ended.running.stopped_s is not None or self._kill_leftovers:
                self._ending[exit_.pid] = ended
            else:
                self._finish(ended)
        for pid, ended in tuple(self._ending.items()):
            self._finish_with_tree(self.running[pid], ended)
        return has_ended

    def report_survivors(self) -> None:
        """Report leftovers that are in other sessions than their job: this reads all of /proc."""
        for seq, leftovers in self._runner.survivors().items():
            unreported = [left for left in leftovers if left.pid not in self._reported_pids]
            if unreported:
                self._reporter.notify(f"job {seq} left processes running: {_names(unreported)}")

    def _judge(self, running: Running, exit_: Exit) -> Ended:
        ended = judge_exit(running, exit_, self._clock.now_s())
        if self._memory_monitor is None:
            return ended
        peak_mib, other_gpus = self._memory_monitor.on_end(exit_.pid)
        return ended._replace(peak_vram_mib=peak_mib, other_gpus=other_gpus)

    def _finish_with_tree(self, running: Running, ended: Ended) -> None:
        """Finish a stopped attempt once its last process is gone, or was killed."""
        leftovers = self._runner.leftovers(running.pid, running.job.seq, thorough=True)
        if leftovers and running.stopped_s is None:
            reason = f"left processes running: {_names(leftovers)}; ending them"
            self.stop(Stop(running, signal.SIGTERM, reason))
        elif not leftovers or running.killed:
            del self._ending[running.pid]
            self._finish(ended)

    def _finish(self, ended: Ended) -> None:
        """Give the lease back, and count the job or let it run again."""
        running = self.running.pop(ended.exit.pid)
        monitor = self._memory_monitor
        if monitor is not None and monitor.learn(running.job, ended.peak_vram_mib):
            self._intake.update_requests()
        leftovers: tuple[Leftover, ...] = ()
        if running.stopped_s is None:
            leftovers = self._runner.leftovers(running.pid, running.job.seq, thorough=False)
        self._leases.finish(running.job, reuse=not leftovers)
        if leftovers:
            ended = ended._replace(leftovers=leftovers)
            self._reported_pids.update(process.pid for process in leftovers)
        outcome = decide(self._result(ended))
        if outcome.again is None or self._shutdown.phase is not Phase.OPEN:
            self._reporter.count(tally_of(outcome.kind), ended)
        else:
            self._run_again(ended, outcome, outcome.again)

    def _result(self, ended: Ended) -> AttemptResult:
        """What is known of the attempt; GPUs and output are looked at only if it failed."""
        job = ended.running.job
        if ended.ok or ended.aborted:
            return AttemptResult(job, ended.ok, ended.aborted)
        return AttemptResult(
            job,
            succeeded=False,
            gpu_fault=self._find_fault(ended.running.gpus),
            out_of_memory=job.memory_mib is not None
            and says_out_of_memory(self._runner.last_words(job)),
            peak_mib=ended.peak_vram_mib,
            most_mib=most_memory_mib(self._leases.cards, job.gpus),
        )

    def _find_fault(self, gpus: Sequence[str]) -> str:
        try:
            fault = self._leases.fault(gpus)
        except SgsError:
            return ""
        if fault is not None:
            self._reporter.notify(f"{fault}; not used any more")
        return fault or ""

    def _run_again(self, ended: Ended, outcome: Outcome, again: Job) -> None:
        if outcome.kind is OutcomeKind.MORE_MEMORY:
            self._reporter.notify(reasons.more_memory(ended.running.job, again))
        self._intake.put_back(again)
        self._reporter.report(ended._replace(retry=True))


def _names(leftovers: Sequence[Leftover]) -> str:
    return ", ".join(str(leftover) for leftover in leftovers)
