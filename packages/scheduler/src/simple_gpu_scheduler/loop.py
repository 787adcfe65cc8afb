"""The pipe's loop: observe, plan, apply. It alone calls both the policy and the ports."""

from __future__ import annotations

import enum
import errno
import signal
from collections.abc import Sequence

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.intake import Intake
from simple_gpu_scheduler.model import (
    Counts,
    Ended,
    Event,
    Exit,
    Finished,
    Hold,
    Job,
    Notice,
    PipePolicy,
    Progress,
    Rejected,
    Running,
    Skipped,
    Snapshot,
    Start,
    Started,
    Starting,
    Stop,
)
from simple_gpu_scheduler.policy import halt, retry
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.ports import Clock, Done, Listener, Runner, Source, Wait

#: How often to look whether the rest of a stopped job's process tree has gone.
_TREE_CHECK_S = 0.1

#: Errors of starting a process that pass once another one has ended.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class Phase(enum.IntEnum):
    """How far the run has come to its end; it only ever grows."""

    OPEN = 0
    DRAINING = 1  #: nothing more is read or started
    ENDING = 2  #: running jobs have been told to stop
    KILLING = 3  #: and then killed


class Pipe:
    """Runs the commands of a source on GPUs until there are no more."""

    def __init__(
        self,
        *,
        gpus: Sequence[str],
        source: Source,
        runner: Runner,
        wait: Wait,
        clock: Clock,
        listeners: Sequence[Listener],
        template: Job,
        policy: PipePolicy,
        done: Done,
        halt_rule: halt.Halt | None = None,
        tick_s: float | None = None,
    ) -> None:
        """`template` is what each job asks for unless its directives say otherwise; `done` are
        the lines to skip; with `tick_s` the listeners hear of the progress at least so often.
        """
        self._gpus = tuple(gpus)
        self._source = source
        self._runner = runner
        self._wait = wait
        self._clock = clock
        self._listeners = listeners
        self._policy = policy
        self._halt_rule = halt_rule
        self._tick_s = tick_s
        self._intake = Intake(source, template, len(gpus), done, self._take_note, clock.wall_s)
        self._phase = Phase.OPEN
        self._tally = dict.fromkeys(Counts._fields, 0)
        self._running: dict[int, Running] = {}
        self._exits: dict[int, Ended] = {}  # of jobs whose process tree isn't gone yet
        self._hold: Hold | None = None
        self._last_start_s: float | None = None
        self._crowded = False  # the system had no room for one more process
        self._broken = False  # something could not be read or recorded
        self._halted = False
        self._end_signal = 0
        self._changed = False  # a skipped line isn't the command that the joblog has

    def run(self) -> int:
        """Run until the end; returns the exit status."""
        while True:
            if self._phase is Phase.OPEN:
                self._intake.take()
            decided = plan(self._snapshot(), self._policy)
            self._hold = decided.hold
            self._apply(decided.starts, decided.stops)
            if self._over():
                return self._finish()
            if decided.starts and not self._intake.waiting:
                continue  # there may be more lines than the window held
            self._sleep(decided.wake_s)
            self._reap()

    # observe

    def _snapshot(self) -> Snapshot:
        ready = self._phase is Phase.OPEN and not self._crowded
        return Snapshot(
            self._clock.now_s(),
            self._gpus,
            tuple(self._running.values()),
            self._intake.waiting if ready else (),
            self._last_start_s,
        )

    def _over(self) -> bool:
        if self._running:
            return False
        return self._phase > Phase.OPEN or (not self._intake.waiting and self._source.at_end)

    def _sleep(self, wake_s: float | None) -> None:
        timeout_s = None if wake_s is None else wake_s - self._clock.now_s()
        if self._exits:
            timeout_s = _TREE_CHECK_S if timeout_s is None else min(timeout_s, _TREE_CHECK_S)
        if self._tick_s is not None:
            self._report_progress()
            if self._running:
                timeout_s = self._tick_s if timeout_s is None else min(timeout_s, self._tick_s)
        want_input = self._phase is Phase.OPEN and self._source.wants_input
        woken = self._wait.wait(timeout_s, want_input=want_input)
        for number in woken.signals:
            self._heed(number)
        if woken.input_ready:
            self._fill()

    def _fill(self) -> None:
        try:
            self._source.fill()
        except OSError as error:
            self._break(f"the commands can't be read from stdin: {error.strerror}")

    # apply

    def _apply(self, starts: Sequence[Start], stops: Sequence[Stop]) -> None:
        for one in stops:
            self._stop(one.running, one.signal, timed_out=one.signal == signal.SIGTERM)
            self._report(Notice(f"job {one.running.job.seq} {one.reason}"))
        for start in starts:
            self._intake.waiting.popleft()
            if not self._start(start):
                self._intake.put_back(start.job)
                return

    def _start(self, start: Start) -> bool:
        """Start a job; False if it has to wait after all."""
        job, gpus = start
        self._report(Starting(job, gpus))
        try:
            pid = self._runner.start(job, gpus)
        except OSError as error:
            return self._could_not_start(job, error)
        except SgsError as error:
            self._break(str(error))
            return False
        self._last_start_s = self._clock.now_s()
        one = Running(job, gpus, pid, self._last_start_s, self._clock.wall_s())
        self._running[pid] = one
        self._report(Started(one))
        return True

    def _could_not_start(self, job: Job, error: OSError) -> bool:
        if error.errno in _PASSING and self._running:
            self._crowded = True
            return False
        reason = f"can't be started: {error.strerror}"
        self._take_note(Rejected(job.seq, job.command, reason, self._clock.wall_s()))
        return True

    def _stop(self, one: Running, number: int, *, timed_out: bool = False) -> None:
        self._running[one.pid] = one._replace(
            stopped_s=self._clock.now_s() if one.stopped_s is None else one.stopped_s,
            killed=number == signal.SIGKILL,
            timed_out=one.timed_out or timed_out,
        )
        self._runner.signal(one.pid, one.job.seq, number)

    # what happened

    def _reap(self) -> None:
        judged = [self._judge(done) for done in self._runner.reap()]
        for ended in judged:
            self._crowded = False
            if ended.running.stopped_s is not None or self._policy.kill_leftovers:
                self._exits[ended.running.pid] = ended
            else:
                self._end(ended)
        for pid, ended in tuple(self._exits.items()):
            self._end_with_tree(self._running[pid], ended)

    def _judge(self, done: Exit) -> Ended:
        """All at once, before an end makes `--halt now` stop the others."""
        one = self._running[done.pid]
        aborted = self._phase >= Phase.ENDING and one.stopped_s is not None and not one.timed_out
        return Ended(one, done, self._clock.now_s() - one.started_s, aborted=aborted)

    def _end_with_tree(self, one: Running, ended: Ended) -> None:
        """A stopped job keeps its GPUs until its last process is gone, or was killed."""
        left = self._runner.leftovers(one.pid, one.job.seq, thorough=True)
        if left and one.stopped_s is None:
            self._report(Notice(f"ending what job {one.job.seq} left behind: {_names(left)}"))
            self._stop(one, signal.SIGTERM)
        elif not left or one.killed:
            del self._exits[one.pid]
            self._end(ended)

    def _end(self, ended: Ended) -> None:
        one = self._running.pop(ended.exit.pid)
        again = None
        if self._phase is Phase.OPEN:
            again = retry.next_attempt(one.job, ok=ended.ok, aborted=ended.aborted)
        if not ended.leftovers and one.stopped_s is None:
            left = self._runner.leftovers(one.pid, one.job.seq, thorough=False)
            if left:
                ended = ended._replace(leftovers=left)
        if again is not None:
            ended = ended._replace(retry=True)
            self._intake.put_back(again)
        self._take_note(ended)

    def _take_note(self, event: Ended | Rejected | Skipped) -> None:
        end = _end_of(event)
        if end is not None:
            self._tally[end] += 1
        self._report(event)
        if isinstance(event, Skipped):
            self._warn_if_changed(event)
        self._halt_if_due()

    def _counts(self) -> Counts:
        return Counts(**self._tally)

    def _warn_if_changed(self, event: Skipped) -> None:
        if event.changed and not self._changed:
            self._changed = True
            self._report(
                Notice(
                    f"warning: line {event.seq} is skipped, but the joblog has another command "
                    f"for job {event.seq}; was the input changed?"
                )
            )

    def _report(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener.hear(event)
            except SgsError as error:
                self._break(str(error))

    # the end

    def _halt_if_due(self) -> None:
        rule = self._halt_rule
        if rule is None or self._halted:
            return
        known = self._source.known if rule.percent else 0
        if halt.reached(rule, self._counts(), known):
            self._halted = True
            self._report(Notice(f"--halt {rule}: starting no more jobs"))
            self._advance(Phase.ENDING if rule.when == "now" else Phase.DRAINING)

    def _heed(self, number: int) -> None:
        """Signals of the user: see the table in design and README."""
        if number not in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            return
        self._end_signal = number
        least = Phase.ENDING if number == signal.SIGTERM else Phase.DRAINING
        phase = Phase(max(least, min(self._phase + 1, Phase.KILLING)))
        if phase is Phase.DRAINING and self._running:
            jobs = "1 job" if len(self._running) == 1 else f"{len(self._running)} jobs"
            self._report(
                Notice(
                    f"{signal.Signals(number).name}: reading no more, waiting for {jobs}; "
                    "a second one ends them"
                )
            )
        self._advance(phase)

    def _advance(self, phase: Phase) -> None:
        if phase <= self._phase:
            return
        self._phase = phase
        if phase is Phase.DRAINING:
            return
        number = signal.SIGKILL if phase is Phase.KILLING else signal.SIGTERM
        for one in tuple(self._running.values()):
            self._stop(one, number)

    def _break(self, message: str) -> None:
        """Something can't go on as asked: start no more, so that nothing gets lost."""
        if not self._broken:
            self._broken = True
            self._report(Notice(f"error: {message}; starting no more jobs"))
        self._advance(Phase.DRAINING)

    def _finish(self) -> int:
        self._tally["unstarted"] = len(self._intake.waiting)
        status = self._exit_status()
        if self._tick_s is not None:
            self._report_progress()
        self._report(Finished(self._counts(), status))
        return status

    def _exit_status(self) -> int:
        if self._end_signal:
            return 128 + self._end_signal
        if self._broken:
            return 1
        if self._halted and self._halt_rule is not None and self._halt_rule.why == "success":
            return 0
        return 1 if self._tally["failed"] else 0

    def _report_progress(self) -> None:
        self._report(
            Progress(
                self._clock.now_s(),
                self._counts(),
                tuple(self._running.values()),
                self._source.known,
                self._source.complete,
                self._hold,
            )
        )


def _end_of(event: Ended | Rejected | Skipped) -> str | None:
    """Which of the counts it belongs to; None for a job that will run again."""
    if isinstance(event, Skipped):
        return "skipped"
    if isinstance(event, Rejected):
        return "failed"
    if event.aborted:
        return "aborted"
    if event.retry:
        return None
    return "succeeded" if event.ok else "failed"


def _names(left: Sequence[object]) -> str:
    return ", ".join(str(one) for one in left)
