"""Fakes of what the pipe needs: a clock, commands, processes, a sleep, leases and a listener."""

from __future__ import annotations

import heapq
import re
import signal
from collections.abc import Callable, Iterator, Sequence

from simple_gpu_scheduler.jobs.job import Job, Line
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.pipe.events import Event
from simple_gpu_scheduler.policy.model import Card, Hold, Start
from simple_gpu_scheduler.processes.ports import Woken
from simple_gpu_scheduler.processes.records import Exit, Leftover


class ManualClock:
    """A clock that moves only by `advance_to`; implements `pipe.ports.Clock`."""

    def __init__(self, now_s: float = 0.0) -> None:
        """`now_s` is the time at first, in seconds."""
        self._now_s = now_s

    def now_s(self) -> float:
        """The time in seconds."""
        return self._now_s

    def wall_s(self) -> float:
        """The time in seconds since 1970; 0 is a day in November 2023."""
        return 1_700_000_000.0 + self._now_s

    def advance_to(self, now_s: float) -> None:
        """Move the clock to a time; an earlier time leaves it as it is."""
        self._now_s = max(self._now_s, now_s)


class ListSource:
    """A list of commands; implements `pipe.ports.Source`."""

    def __init__(self, commands: Sequence[bytes]) -> None:
        """`commands` are the lines of the input, without their ends."""
        self._commands = commands
        self._taken = 0

    wants_input = False
    complete = True

    @property
    def at_end(self) -> bool:
        """True once every line was taken."""
        return self._taken == len(self._commands)

    @property
    def known(self) -> int:
        """The number of lines."""
        return len(self._commands)

    def fill(self) -> None:
        """Do nothing: all lines are there."""

    def take(self) -> Line | None:
        """The next line; None at the end."""
        if self.at_end:
            return None
        self._taken += 1
        return Line(self._taken, self._commands[self._taken - 1])


def script_of(command: bytes) -> tuple[float, int]:
    """The runtime in seconds and the exit status of a fake job, read from `sleep S; exit N`."""
    runtime = re.search(rb"sleep ([\d.]+)", command)
    exit_code = re.search(rb"exit (\d+)", command)
    return float(runtime[1]) if runtime else 0.0, int(exit_code[1]) if exit_code else 0


class FakeRunner:
    """Fake jobs, which run and end as their commands say; implements `processes.ports.Runner`.

    A job ends at the first TERM signal, unless its command says `trap '' TERM`.
    """

    def __init__(
        self,
        clock: ManualClock,
        script: Callable[[bytes], tuple[float, int]] = script_of,
    ) -> None:
        """`script` returns the runtime in seconds and the exit status of a command."""
        self._clock = clock
        self._script = script
        self._next_pid = 1000
        self._ends: list[tuple[float, int]] = []  # when each job ends, and its pid
        self._exits: dict[int, Exit] = {}
        self._jobs: dict[int, Job] = {}
        #: The jobs that were started, each with its GPUs and its start time.
        self.started: list[tuple[Job, tuple[str, ...], float]] = []

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        """Start a fake job; return its pid, from 1001."""
        self._next_pid += 1
        pid = self._next_pid
        runtime_s, exit_code = self._script(job.command)
        self._jobs[pid] = job
        self._exits[pid] = Exit(pid, exit_code, None)
        heapq.heappush(self._ends, (self._clock.now_s() + runtime_s, pid))
        self.started.append((job, gpus, self._clock.now_s()))
        return pid

    def next_end_s(self) -> float | None:
        """The time at which the next job ends; None if none runs."""
        while self._ends and self._ends[0][1] not in self._jobs:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def reap(self) -> Exit | None:
        """A job that has ended, each once; None if there is none."""
        end_s = self.next_end_s()
        if end_s is None or end_s > self._clock.now_s():
            return None
        _, pid = heapq.heappop(self._ends)
        del self._jobs[pid]
        return self._exits.pop(pid)

    def last_words(self, job: Job) -> bytes:
        """What the job printed: the arguments of each `echo` in its command."""
        return b"\n".join(re.findall(rb"echo ([^;]*)", job.command))

    def signal(self, pid: int, seq: int, number: int) -> int:
        """End the job now, unless it ignores the signal; return the number of processes met."""
        job = self._jobs.get(pid)
        if job is None:
            return 0
        if number == signal.SIGKILL or b"trap '' TERM" not in job.command:
            self._exits[pid] = Exit(pid, None, number)
            heapq.heappush(self._ends, (self._clock.now_s(), pid))
        return 1

    def leftovers(self, pid: int, seq: int, *, thorough: bool) -> tuple[Leftover, ...]:
        """Nothing: fake jobs leave no processes behind."""
        return ()

    def survivors(self) -> dict[int, tuple[Leftover, ...]]:
        """Nothing: fake jobs leave no processes behind."""
        return {}


class FakeWait:
    """Moves the clock to the next thing that happens; implements `processes.ports.Wait`."""

    def __init__(
        self,
        clock: ManualClock,
        runner: FakeRunner,
        signals: Sequence[tuple[float, int]] = (),
    ) -> None:
        """`signals` are those that come: the time of each, and its number."""
        self._clock = clock
        self._runner = runner
        self._signals = sorted(signals, reverse=True)

    def wait(
        self, timeout_s: float | None, *, want_input: bool, watch_fd: int | None = None
    ) -> Woken:
        """Move the clock to the next end of a job, signal or timeout.

        Raises:
            AssertionError: Nothing would ever end the sleep.
        """
        now_s = self._clock.now_s()
        times_s = [
            None if timeout_s is None else now_s + max(0.0, timeout_s),
            self._runner.next_end_s(),
            self._signals[-1][0] if self._signals else None,
        ]
        set_times_s = [time_s for time_s in times_s if time_s is not None]
        if not set_times_s:
            raise AssertionError("the loop sleeps, and nothing will ever wake it")
        self._clock.advance_to(min(set_times_s))
        return Woken(False, tuple(self._due_signals()))

    def _due_signals(self) -> Iterator[int]:
        while self._signals and self._signals[-1][0] <= self._clock.now_s():
            yield self._signals.pop()[1]


class FreeLeases:
    """Leases on a machine that nobody else uses; implements `pipe.ports.Leases`."""

    wake_fd = None
    refresh_in_s = None

    def __init__(self, cards: Sequence[Card]) -> None:
        """`cards` are the GPUs of the machine."""
        self.cards: Sequence[Card] = tuple(cards)
        self._next_id = 0

    def refresh(self) -> None:
        """Do nothing: no lease of others can change."""

    def take(self, start: Start) -> Lease | None:
        """A new lease; it is never refused."""
        self._next_id += 1
        return Lease(f"fake-{self._next_id}", -1)

    def finish(self, job: Job, *, reuse: bool = True) -> None:
        """Do nothing: nobody waits for the GPUs."""

    def fault(self, gpus: Sequence[str]) -> str | None:
        """None: no GPU ever fails."""
        return None

    def remarks(self) -> Sequence[str]:
        """No messages: nothing goes wrong."""
        return ()

    def settle(self, hold: Hold | None) -> str | None:
        """None: no lease of others can change."""
        return None


class Recorder:
    """Keeps every event; implements `pipe.ports.Listener`."""

    def __init__(self) -> None:
        self.events: list[Event] = []  #: in the order in which they came

    def on_event(self, event: Event) -> None:
        """Append the event to `events`."""
        self.events.append(event)
