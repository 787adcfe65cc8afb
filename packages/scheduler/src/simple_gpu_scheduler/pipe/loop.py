"""The pipe's loop: observe, plan, apply. It alone calls both the policy and the ports."""

from __future__ import annotations

import errno
import signal
from collections.abc import Sequence

from simple_gpu_scheduler.errors import CrowdedError, HopelessError, PassingError, SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.memory.monitor import MemoryMonitor
from simple_gpu_scheduler.memory.oom import says_out_of_memory
from simple_gpu_scheduler.pipe.events import (
    Counts,
    Ended,
    Event,
    Finished,
    Notice,
    Progress,
    Rejected,
    Skipped,
)
from simple_gpu_scheduler.pipe.halt import Halt
from simple_gpu_scheduler.pipe.intake import Intake
from simple_gpu_scheduler.pipe.ports import Clock, Done, Leases, Listener, Source
from simple_gpu_scheduler.pipe.shutdown import Shutdown
from simple_gpu_scheduler.policy import reasons
from simple_gpu_scheduler.policy.fit import most_memory_mib
from simple_gpu_scheduler.policy.model import (
    Hold,
    Phase,
    PipePolicy,
    Running,
    Snapshot,
    Start,
    Stop,
)
from simple_gpu_scheduler.policy.outcome import AttemptResult, Outcome, OutcomeKind, decide
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.processes.ports import Runner, Wait
from simple_gpu_scheduler.processes.records import Exit, Leftover

#: How often to look whether the rest of a stopped job's process tree has gone.
_TREE_CHECK_S = 0.1

#: How soon to try again where something is lacking that may be there again soon.
_TRY_AGAIN_S, _SAY_AGAIN_S = 1.0, 600.0

#: Where it is processes: ever more rarely, and while none of ours runs so long at most.
_LAST_PAUSE_S, _PATIENCE_S = 60.0, 600.0

#: How jobs that are over are counted.
_ENDS = {OutcomeKind.SUCCEEDED: "succeeded", OutcomeKind.CANCELLED: "aborted"}

#: Errors of starting a process that pass once another one has ended.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


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
        """`template` is what each job asks for unless its directives say otherwise; `done` are
        the lines to skip; with `tick_s` the listeners hear of the progress at least so often;
        `memory` looks at jobs on their GPUs.
        """
        self._leases = leases
        self._source = source
        self._runner = runner
        self._wait = wait
        self._clock = clock
        self._hearers = [listener.on_event for listener in listeners]
        self._policy = policy
        self._halt = halt
        self._tick_s = tick_s
        self._memory = memory
        self._intake = Intake(source, template, leases.cards, done, self._not_run, clock.wall_s)
        self._ending = Shutdown(halt)
        self._tally = dict.fromkeys(Counts._fields, 0)
        self._running: dict[int, Running] = {}
        self._exits: dict[int, Ended] = {}  # of jobs whose process tree isn't gone yet
        self._hold: Hold | None = None
        self._last_start_s: float | None = None
        self._again_s: float | None = None  # when to try again to start something
        self._lacking, self._lacking_s = "", 0.0  # why not now, and when we said so
        self._crowded_s: float | None = None  # since when no process could be started
        self._pause_s = _TRY_AGAIN_S
        self._announced = 0  # the job that was to be started then
        self._told: set[int] = set()  # leftovers
        self._warned = False  # that the input isn't the one that the joblog is of

    def run(self) -> int:
        """Run until the end; returns the exit status."""
        while True:
            if self._ending.phase is Phase.OPEN and self._intake.take():
                self._ask_for_memory()
            decided = plan(self._snapshot(), self._policy)
            self._hold = decided.hold
            all_started = self._apply(decided.starts, decided.stops)
            settled = all_started and self._settle(decided.hold)
            if self._over():
                return self._finish()
            if not settled or (decided.starts and not self._intake.waiting):
                continue  # others were faster, or there may be more lines than the window held
            self._sleep(decided.wake_s)
            self._reap()

    def _ask_for_memory(self) -> None:
        """Have the waiting jobs ask for what they are known to need."""
        memory, cards = self._memory, self._leases.cards
        if memory is not None:
            self._intake.change(lambda job: memory.with_estimate(job, cards))

    # observe

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            self._clock.now_s(),
            self._leases.cards,
            self._running.values(),
            () if self._is_to_wait() else self._intake.waiting,
            self._last_start_s,
            self._ending.phase,
        )

    def _is_to_wait(self) -> bool:
        if self._again_s is not None and self._clock.now_s() >= self._again_s:
            self._again_s = None
        return self._again_s is not None

    def _over(self) -> bool:
        if self._running:
            return False
        ended = self._ending.phase is not Phase.OPEN
        return ended or (not self._intake.waiting and self._source.at_end)

    def _sleep(self, wake_s: float | None) -> None:
        if self._tick_s is not None:
            self._report_progress()
        want_input = self._ending.phase is Phase.OPEN and self._source.wants_input
        watch_fd = self._leases.wake_fd
        if self._memory is not None:
            for text in self._memory.poll(self._running, self._clock.now_s()):
                self._report(Notice(text))
        woken = self._wait.wait(self._timeout_s(wake_s), want_input=want_input, watch_fd=watch_fd)
        for number in woken.signals:
            self._on_signal(number)
        if woken.input_ready:
            self._fill()
        if woken.watched_ready or self._leases.refresh_in_s is not None:
            self._refresh_leases()

    def _timeout_s(self, wake_s: float | None) -> float | None:
        limits_s = [] if wake_s is None else [wake_s - self._clock.now_s()]
        if self._leases.refresh_in_s is not None:
            limits_s.append(self._leases.refresh_in_s)
        if self._again_s is not None:
            limits_s.append(max(0.0, self._again_s - self._clock.now_s()))
        if self._exits:
            limits_s.append(_TREE_CHECK_S)
        if self._memory is not None:
            look_s = self._memory.poll_in_s(self._running, self._clock.now_s())
            if look_s is not None:
                limits_s.append(look_s)
        if self._tick_s is not None and self._running:
            limits_s.append(self._tick_s)
        return min(limits_s) if limits_s else None

    def _refresh_leases(self) -> None:
        try:
            self._leases.refresh()
        except PassingError as error:
            self._wait_a_while(error)
        except SgsError as error:
            self._give_up(str(error))

    def _fill(self) -> None:
        try:
            self._source.fill()
        except OSError as error:
            self._give_up(f"the commands can't be read from stdin: {error.strerror}")

    def _on_signal(self, number: int) -> None:
        if self._ending.on_signal(number) and self._running:
            name, phase = signal.Signals(number).name, self._ending.phase
            self._report(Notice(f"{name}: {reasons.ending(phase, len(self._running))}"))

    # apply

    def _apply(self, starts: Sequence[Start], stops: Sequence[Stop]) -> bool:
        """True if all was done; what could not be started waits again, but for what never can."""
        for stop in stops:
            self._stop(stop)
        before = len(self._running)
        for start in starts:
            self._intake.remove(start.job)
            if not self._start(start):
                self._intake.put_back(start.job)
                return False
        return len(self._running) - before == len(starts)

    def _settle(self, hold: Hold | None) -> bool:
        """False if there is news of other users: what can start may have changed."""
        try:
            news = self._leases.settle(hold)
        except HopelessError as error:
            self._reject(hold, str(error))
            return False
        except PassingError as error:
            self._wait_a_while(error)
            return False
        except SgsError as error:
            self._give_up(str(error))
            return False
        for remark in self._leases.remarks():
            self._report(Notice(remark))
        if news:
            self._report(Notice(f"waiting: {news}"))
        return news is None

    def _start(self, start: Start) -> bool:
        """Start a job; False if it has to wait after all."""
        job, gpus = start
        if self._ending.phase is not Phase.OPEN:  # a start before it broke something
            return False
        lease = self._lease(start)
        if lease is None:
            return False
        if job.seq != self._announced:
            self._report(start)
            self._announced = job.seq
        started_s, started_wall_s = self._clock.now_s(), self._clock.wall_s()
        try:
            pid = self._runner.start(job, gpus, lease)
        except (OSError, SgsError) as error:
            self._leases.finish(job)
            return self._could_not_start(job, error)
        self._crowded_s, self._announced = None, 0
        self._last_start_s = started_s
        one = Running(job, gpus, pid, started_s, started_wall_s)
        self._running[pid] = one
        self._report(one)
        return True

    def _lease(self, start: Start) -> Lease | None:
        try:
            return self._leases.take(start)
        except PassingError as error:
            self._wait_a_while(error)
            return None
        except SgsError as error:
            self._give_up(str(error))
            return None

    def _wait_for_room(self, error: OSError) -> None:
        """No process can be had: that may pass once another has ended, ours or not."""
        text = f"no process can be started: {error.strerror}"
        now_s = self._clock.now_s()
        if self._crowded_s is None:
            self._crowded_s, self._pause_s = now_s, _TRY_AGAIN_S
        if not self._running and now_s >= self._crowded_s + _PATIENCE_S:
            self._give_up(text)
            return
        kind = CrowdedError if error.errno == errno.EMFILE else PassingError
        self._wait_a_while(kind(text), self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)

    def _wait_a_while(self, error: PassingError, pause_s: float = _TRY_AGAIN_S) -> None:
        """No list ends for what another user can take away for a while; it is rarely told."""
        if isinstance(error, CrowdedError) and not self._running:
            self._give_up(str(error))
            return
        now_s = self._clock.now_s()
        self._again_s = now_s + pause_s
        if str(error) != self._lacking or now_s > self._lacking_s + _SAY_AGAIN_S:
            self._lacking, self._lacking_s = str(error), now_s
            self._report(Notice(f"{error}; waiting until that is over"))

    def _could_not_start(self, job: Job, error: OSError | SgsError) -> bool:
        if isinstance(error, HopelessError):
            reason = str(error)
        elif isinstance(error, SgsError):
            self._give_up(str(error))
            return False
        elif error.errno in _PASSING:
            self._wait_for_room(error)
            return False
        else:
            reason = f"can't be started: {error.strerror}"
        self._not_run(Rejected(job.seq, job.command, reason, self._clock.wall_s()))
        return True

    def _stop(self, stop: Stop) -> None:
        one = stop.running
        if stop.reason:
            self._report(Notice(f"job {one.job.seq} {stop.reason}"))
        self._running[one.pid] = one._replace(
            stopped_s=self._clock.now_s() if one.stopped_s is None else one.stopped_s,
            killed=stop.signal == signal.SIGKILL,
            timed_out=one.timed_out or stop.timed_out,
        )
        self._runner.signal(one.pid, one.job.seq, stop.signal)

    # what came of it

    def _reap(self) -> None:
        while (done := self._runner.reap()) is not None:
            self._again_s = self._crowded_s = None  # what it had may be what is lacking
            ended = self._judge(self._running[done.pid], done)
            if ended.running.stopped_s is not None or self._policy.kill_leftovers:
                self._exits[done.pid] = ended
            else:
                self._end(ended)
        if self._exits:
            for pid, ended in tuple(self._exits.items()):
                self._end_with_tree(self._running[pid], ended)

    def _judge(self, one: Running, done: Exit) -> Ended:
        runtime_s = self._clock.now_s() - one.started_s
        ok = done.exit_code == 0 and not one.timed_out
        aborted = one.stopped_s is not None and not one.timed_out
        ended = Ended(one, done, runtime_s, ok, aborted)
        if self._memory is None:
            return ended
        peak_mib, other_gpus = self._memory.on_end(done.pid)
        return ended._replace(peak_vram_mib=peak_mib, other_gpus=other_gpus)

    def _end_with_tree(self, one: Running, ended: Ended) -> None:
        """A stopped job keeps its GPUs until its last process is gone, or was killed."""
        left = self._runner.leftovers(one.pid, one.job.seq, thorough=True)
        if left and one.stopped_s is None:
            names = ", ".join(str(process) for process in left)
            self._stop(Stop(one, signal.SIGTERM, f"left processes running: {names}; ending them"))
        elif not left or one.killed:
            del self._exits[one.pid]
            self._end(ended)

    def _end(self, ended: Ended) -> None:
        one = self._running.pop(ended.exit.pid)
        if self._memory is not None and self._memory.learn(one.job, ended.peak_vram_mib):
            self._ask_for_memory()
        left: tuple[Leftover, ...] = ()
        if one.stopped_s is None:
            left = self._runner.leftovers(one.pid, one.job.seq, thorough=False)
        self._leases.finish(one.job, reuse=not left)
        if left:
            ended = ended._replace(leftovers=left)
            self._told.update(process.pid for process in left)
        outcome = decide(self._ended_attempt(ended))
        if outcome.again is None or self._ending.phase is not Phase.OPEN:
            self._count(_ENDS.get(outcome.verdict, "failed"), ended)
        else:
            self._run_again(ended, outcome, outcome.again)

    def _ended_attempt(self, ended: Ended) -> AttemptResult:
        job = ended.running.job
        if ended.ok or ended.aborted:
            return AttemptResult(job, ended.ok, ended.aborted)
        return AttemptResult(
            job,
            succeeded=False,
            gpu_fault=self._gpu_fault(ended.running.gpus),
            out_of_memory=job.memory_mib is not None
            and says_out_of_memory(self._runner.last_words(job)),
            peak_mib=ended.peak_vram_mib,
            most_mib=most_memory_mib(self._leases.cards, job.gpus),
        )

    def _gpu_fault(self, gpus: Sequence[str]) -> str:
        try:
            fault = self._leases.fault(gpus)
        except SgsError:
            return ""
        if fault is not None:
            self._report(Notice(f"{fault}; not used any more"))
        return fault or ""

    def _run_again(self, ended: Ended, outcome: Outcome, again: Job) -> None:
        if outcome.verdict is OutcomeKind.MORE_MEMORY:
            self._report(Notice(reasons.more_memory(ended.running.job, again)))
        self._intake.put_back(again)
        self._report(ended._replace(retry=True))

    def _reject(self, hold: Hold | None, reason: str) -> None:
        """A job that could run once can't any more; those behind it may."""
        if hold is not None:
            job = hold.job
            self._intake.remove(job)
            self._not_run(Rejected(job.seq, job.command, reason, self._clock.wall_s()))

    def _not_run(self, event: Rejected | Skipped) -> None:
        if isinstance(event, Rejected):
            self._count("failed", event)
        else:
            self._count("skipped", event)
            self._warn_if_changed(event)

    def _count(self, end: str, event: Event) -> None:
        self._tally[end] += 1
        self._report(event)
        if self._halt is not None and self._ending.check_halt(self._counts(), self._known()):
            self._report(Notice(f"--halt {self._halt}: starting no more jobs"))

    def _warn_if_changed(self, event: Skipped) -> None:
        if event.changed and not self._warned:
            self._warned = True
            text = f"line {event.seq} is skipped, but the joblog has another command for that job"
            self._report(Notice(f"warning: {text}; was the input changed?"))

    def _give_up(self, message: str) -> None:
        """Something can't go on as asked: start no more, so that nothing gets lost."""
        rest = "; starting no more jobs" if self._ending.give_up() else ""
        self._report(Notice(f"error: {message}{rest}"))

    def _report(self, event: Event) -> None:
        for hear in self._hearers:
            try:
                hear(event)
            except SgsError as error:
                self._give_up(str(error))

    def _report_progress(self) -> None:
        self._report(
            Progress(
                self._clock.now_s(),
                self._counts(),
                tuple(self._running.values()),
                self._known(),
                self._source.complete,
                self._hold,
            )
        )

    def _counts(self) -> Counts:
        return Counts(**self._tally)

    def _known(self) -> int:
        return self._source.known - self._intake.blank

    def _tell_survivors(self) -> None:
        """What jobs left behind in sessions of its own shows only when all of /proc is read."""
        for seq, left in self._runner.survivors().items():
            names = ", ".join(str(process) for process in left if process.pid not in self._told)
            if names:
                self._report(Notice(f"job {seq} left processes running: {names}"))

    def _finish(self) -> int:
        self._tell_survivors()
        self._tally["unstarted"] = len(self._intake.waiting)
        status = self._ending.exit_status(self._tally["failed"])
        if self._tick_s is not None:
            self._report_progress()
        self._report(Finished(self._counts(), status))
        return status
