"""The pipe's loop: observe, plan, apply. It alone calls both the policy and the ports."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.errors import HopelessError, PassingError, SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.pipe.attempts import Attempts
from simple_gpu_scheduler.pipe.events import Finished, Progress, Rejected
from simple_gpu_scheduler.pipe.halt import Halt
from simple_gpu_scheduler.pipe.intake import Intake
from simple_gpu_scheduler.pipe.ports import Clock, Done, Leases, Listener, Source
from simple_gpu_scheduler.pipe.reporter import Reporter
from simple_gpu_scheduler.pipe.shutdown import Shutdown
from simple_gpu_scheduler.pipe.start_pause import PauseDecision, StartPause, may_pass
from simple_gpu_scheduler.policy import reasons
from simple_gpu_scheduler.policy.model import (
    Hold,
    Phase,
    PipePolicy,
    Running,
    Snapshot,
    Start,
    Stop,
)
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.processes.ports import Runner, Wait

if TYPE_CHECKING:
    from simple_gpu_scheduler.memory.monitor import MemoryMonitor


class Pipe:
    """Runs the commands of a source on GPUs until there are no more."""

    def __init__(
        self,
        *,
        leases: Leases,
        source: Source,
        runner: Runner,
        wait: Wait,
        clock: Clock,
        listeners: Sequence[Listener],
        template: Job,
        policy: PipePolicy,
        done: Done,
        halt: Halt | None = None,
        tick_s: float | None = None,
        memory: MemoryMonitor | None = None,
    ) -> None:
        """Connect the parts; nothing is read or started yet.

        Args:
            leases: The GPUs, and the leases on them.
            source: The lines of the input.
            runner: Starts and ends processes.
            wait: Sleeps until something happens.
            clock: Tells the time.
            listeners: Called with each event.
            template: What each job asks for, unless its directives say otherwise.
            policy: The rules for order, placement and stopping.
            done: The lines to skip.
            halt: What ends the run early (default: nothing).
            tick_s: The longest time between two reports of progress, in seconds (default: progress
                is not reported).
            memory: Measures the GPU memory of jobs (default: it is not measured).
        """
        self._leases = leases
        self._source = source
        self._runner = runner
        self._wait = wait
        self._clock = clock
        self._policy = policy
        self._tick_s = tick_s
        self._memory_monitor = memory
        self._shutdown = Shutdown(halt)
        self._reporter = Reporter(listeners, self._shutdown, self._known_jobs)
        self._intake = Intake(
            source,
            template,
            leases.cards,
            done,
            self._reporter.count_not_run,
            clock.wall_s,
            adjust=None if memory is None else lambda job: memory.with_estimate(job, leases.cards),
        )
        self._attempts = Attempts(
            runner=runner,
            leases=leases,
            clock=clock,
            intake=self._intake,
            reporter=self._reporter,
            shutdown=self._shutdown,
            memory_monitor=memory,
            kill_leftovers=policy.kill_leftovers,
        )
        self._pause = StartPause()
        self._hold: Hold | None = None
        self._last_start_s: float | None = None
        self._announced_seq = 0  # the job whose `Start` was reported, until its process runs

    def run(self) -> int:
        """Run until the end; return the exit status."""
        while True:
            if self._shutdown.phase is Phase.OPEN:
                self._intake.take()
            decided = plan(self._snapshot(), self._policy)
            self._hold = decided.hold
            all_started = self._apply(decided.starts, decided.stops)
            settled = all_started and self._settle(decided.hold)
            if self._is_over():
                return self._finish()
            if not settled or (decided.starts and not self._intake.waiting):
                continue  # others were faster, or there may be more lines than the window held
            self._sleep(decided.wake_s)
            if self._attempts.reap():
                self._pause.on_job_ended()

    # observe

    def _snapshot(self) -> Snapshot:
        now_s = self._clock.now_s()
        return Snapshot(
            now_s,
            self._leases.cards,
            self._attempts.running.values(),
            () if self._pause.is_on(now_s) else self._intake.waiting,
            self._last_start_s,
            self._shutdown.phase,
        )

    def _is_over(self) -> bool:
        if self._attempts.running:
            return False
        is_ending = self._shutdown.phase is not Phase.OPEN
        return is_ending or (not self._intake.waiting and self._source.at_end)

    def _sleep(self, wake_s: float | None) -> None:
        if self._tick_s is not None:
            self._report_progress()
        want_input = self._shutdown.phase is Phase.OPEN and self._source.wants_input
        watch_fd = self._leases.wake_fd
        if self._memory_monitor is not None:
            for text in self._memory_monitor.poll(self._attempts.running, self._clock.now_s()):
                self._reporter.notify(text)
        woken = self._wait.wait(self._timeout_s(wake_s), want_input=want_input, watch_fd=watch_fd)
        for number in woken.signals:
            self._on_signal(number)
        if woken.input_ready:
            self._read_input()
        if woken.watched_ready or self._leases.refresh_in_s is not None:
            self._refresh_leases()

    def _timeout_s(self, wake_s: float | None) -> float | None:
        now_s, running = self._clock.now_s(), self._attempts.running
        monitor = self._memory_monitor
        limits_s = [
            None if wake_s is None else wake_s - now_s,
            self._leases.refresh_in_s,
            self._pause.left_s(now_s),
            self._attempts.check_in_s,
            None if monitor is None else monitor.poll_in_s(running, now_s),
            self._tick_s if running else None,
        ]
        return min((limit_s for limit_s in limits_s if limit_s is not None), default=None)

    def _refresh_leases(self) -> None:
        try:
            self._leases.refresh()
        except PassingError as error:
            self._pause_after_lack(error)
        except SgsError as error:
            self._reporter.give_up(str(error))

    def _read_input(self) -> None:
        try:
            self._source.fill()
        except OSError as error:
            self._reporter.give_up(f"the commands can't be read from stdin: {error.strerror}")

    def _on_signal(self, number: int) -> None:
        running = len(self._attempts.running)
        if self._shutdown.on_signal(number) and running:
            name = signal.Signals(number).name
            self._reporter.notify(f"{name}: {reasons.ending(self._shutdown.phase, running)}")

    def _known_jobs(self) -> int:
        return self._source.known - self._intake.blank

    # apply

    def _apply(self, starts: Sequence[Start], stops: Sequence[Stop]) -> bool:
        """Stop and start jobs; False if a job could not start. It then waits, or is rejected."""
        for stop in stops:
            self._attempts.stop(stop)
        before = len(self._attempts.running)
        for start in starts:
            self._intake.remove(start.job)
            if not self._start(start):
                self._intake.put_back(start.job)
                return False
        return len(self._attempts.running) - before == len(starts)

    def _settle(self, hold: Hold | None) -> bool:
        """Give unused GPUs back and wait for `hold`; False if what can start may have changed."""
        try:
            waits_for = self._leases.settle(hold)
        except HopelessError as error:
            self._reject(hold, str(error))
            return False
        except PassingError as error:
            self._pause_after_lack(error)
            return False
        except SgsError as error:
            self._reporter.give_up(str(error))
            return False
        for remark in self._leases.remarks():
            self._reporter.notify(remark)
        if waits_for:
            self._reporter.notify(f"waiting: {waits_for}")
        return waits_for is None

    def _start(self, start: Start) -> bool:
        """Start a job, or reject it if it can never start; False if it has to wait."""
        job, gpus = start
        if self._shutdown.phase is not Phase.OPEN:  # the start before this one broke something
            return False
        lease = self._take_lease(start)
        if lease is None:
            return False
        if job.seq != self._announced_seq:
            self._reporter.report(start)
            self._announced_seq = job.seq
        started_s, started_wall_s = self._clock.now_s(), self._clock.wall_s()
        try:
            pid = self._runner.start(job, gpus, lease)
        except (OSError, SgsError) as error:
            self._leases.finish(job)
            return self._on_failed_start(job, error)
        self._pause.on_process_started()
        self._announced_seq = 0
        self._last_start_s = started_s
        self._attempts.add(Running(job, gpus, pid, started_s, started_wall_s))
        return True

    def _take_lease(self, start: Start) -> Lease | None:
        try:
            return self._leases.take(start)
        except PassingError as error:
            self._pause_after_lack(error)
            return None
        except SgsError as error:
            self._reporter.give_up(str(error))
            return None

    def _on_failed_start(self, job: Job, error: OSError | SgsError) -> bool:
        """Reject a job that can never start; False if it has to wait."""
        if isinstance(error, HopelessError):
            reason = str(error)
        elif isinstance(error, SgsError):
            self._reporter.give_up(str(error))
            return False
        elif may_pass(error):
            jobs_run = bool(self._attempts.running)
            now_s = self._clock.now_s()
            self._on_pause(self._pause.after_failed_start(error, now_s, jobs_run=jobs_run))
            return False
        else:
            reason = f"can't be started: {error.strerror}"
        self._count_rejected(job, reason)
        return True

    def _reject(self, hold: Hold | None, reason: str) -> None:
        """Reject the first job that waits: it can't run any more, but the jobs behind it may."""
        if hold is not None:
            self._intake.remove(hold.job)
            self._count_rejected(hold.job, reason)

    def _count_rejected(self, job: Job, reason: str) -> None:
        rejected = Rejected(job.seq, job.command, reason, self._clock.wall_s())
        self._reporter.count_not_run(rejected)

    def _pause_after_lack(self, error: PassingError) -> None:
        jobs_run = bool(self._attempts.running)
        self._on_pause(self._pause.after_lack(error, self._clock.now_s(), jobs_run=jobs_run))

    def _on_pause(self, decision: PauseDecision) -> None:
        if decision.gives_up:
            self._reporter.give_up(decision.text)
        elif decision.text:
            self._reporter.notify(decision.text)

    # report

    def _report_progress(self) -> None:
        self._reporter.report(
            Progress(
                self._clock.now_s(),
                self._reporter.counts,
                tuple(self._attempts.running.values()),
                self._known_jobs(),
                self._source.complete,
                self._hold,
            )
        )

    def _finish(self) -> int:
        self._attempts.report_survivors()
        self._reporter.count_unstarted(len(self._intake.waiting))
        counts = self._reporter.counts
        status = self._shutdown.exit_status(counts.failed)
        if self._tick_s is not None:
            self._report_progress()
        self._reporter.report(Finished(counts, status))
        return status
