"""Public fakes: the pipe under a virtual clock, without processes.

They pass the same contract tests as the real parts, so that what holds with them holds for real.
"""

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
    """A clock that moves when told to; implements `ports.Clock`."""

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return self._now_s

    def wall_s(self) -> float:
        """The same, as if it had begun at some day."""
        return 1_700_000_000.0 + self._now_s

    def advance_to(self, now_s: float) -> None:
        """Move on, never back."""
        self._now_s = max(self._now_s, now_s)


class ListSource:
    """Lines from memory; implements `ports.Source`."""

    def __init__(self, commands: Sequence[bytes]) -> None:
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
        """All lines."""
        return len(self._commands)

    def fill(self) -> None:
        """Nothing more ever comes."""

    def take(self) -> Line | None:
        """The next line."""
        if self.at_end:
            return None
        self._taken += 1
        return Line(self._taken, self._commands[self._taken - 1])


def script_of(command: bytes) -> tuple[float, int]:
    """Runtime in seconds and exit status of a fake job, from `sleep S; exit N`."""
    runtime = re.search(rb"sleep ([\d.]+)", command)
    exit_code = re.search(rb"exit (\d+)", command)
    return float(runtime[1]) if runtime else 0.0, int(exit_code[1]) if exit_code else 0


class FakeRunner:
    """Jobs that take time and end as their command says; implements `ports.Runner`.

    Jobs end at the first TERM, unless the command says `trap '' TERM`.
    """

    def __init__(
        self,
        clock: ManualClock,
        script: Callable[[bytes], tuple[float, int]] = script_of,
    ) -> None:
        self._clock = clock
        self._script = script
        self._next_pid = 1000
        self._ends: list[tuple[float, int]] = []  # when each job would end by itself
        self._exits: dict[int, Exit] = {}
        self._jobs: dict[int, Job] = {}
        self.started: list[tuple[Job, tuple[str, ...], float]] = []

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        """Note the start."""
        self._next_pid += 1
        pid = self._next_pid
        runtime_s, exit_code = self._script(job.command)
        self._jobs[pid] = job
        self._exits[pid] = Exit(pid, exit_code, None)
        heapq.heappush(self._ends, (self._clock.now_s() + runtime_s, pid))
        self.started.append((job, gpus, self._clock.now_s()))
        return pid

    def next_end_s(self) -> float | None:
        """When the next job ends by itself."""
        while self._ends and self._ends[0][1] not in self._jobs:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def reap(self) -> Exit | None:
        """A job whose time has come."""
        end_s = self.next_end_s()
        if end_s is None or end_s > self._clock.now_s():
            return None
        _, pid = heapq.heappop(self._ends)
        del self._jobs[pid]
        return self._exits.pop(pid)

    def last_words(self, job: Job) -> bytes:
        """What the command says after `echo` is what it printed."""
        found = re.findall(rb"echo ([^;]*)", job.command)
        return b"\n".join(found)

    def signal(self, pid: int, seq: int, number: int) -> int:
        """End the job now, unless it ignores that."""
        job = self._jobs.get(pid)
        if job is None:
            return 0
        if number == signal.SIGKILL or b"trap '' TERM" not in job.command:
            self._exits[pid] = Exit(pid, None, number)
            heapq.heappush(self._ends, (self._clock.now_s(), pid))
        return 1

    def leftovers(self, pid: int, seq: int, *, thorough: bool) -> tuple[Leftover, ...]:
        """Fake jobs leave nothing behind."""
        return ()

    def survivors(self) -> dict[int, tuple[Leftover, ...]]:
        """Fake jobs leave nothing behind."""
        return {}


class FakeWait:
    """Moves the clock to whatever comes next; implements `ports.Wait`."""

    def __init__(
        self,
        clock: ManualClock,
        runner: FakeRunner,
        signals: Sequence[tuple[float, int]] = (),
    ) -> None:
        """`signals` come at the given times."""
        self._clock = clock
        self._runner = runner
        self._signals = sorted(signals, reverse=True)

    def wait(
        self, timeout_s: float | None, *, want_input: bool, watch_fd: int | None = None
    ) -> Woken:
        """Jump to the next end, signal or timeout."""
        now_s = self._clock.now_s()
        times = [
            None if timeout_s is None else now_s + max(0.0, timeout_s),
            self._runner.next_end_s(),
            self._signals[-1][0] if self._signals else None,
        ]
        known = [at_s for at_s in times if at_s is not None]
        if not known:
            raise AssertionError("the loop sleeps, and nothing will ever wake it")
        self._clock.advance_to(min(known))
        return Woken(False, tuple(self._due()))

    def _due(self) -> Iterator[int]:
        while self._signals and self._signals[-1][0] <= self._clock.now_s():
            yield self._signals.pop()[1]


class FreeLeases:
    """Nobody else is on the machine; implements `ports.Leases`."""

    wake_fd = None
    refresh_in_s = None

    def __init__(self, cards: Sequence[Card]) -> None:
        self.cards: Sequence[Card] = tuple(cards)
        self._next_id = 0

    def refresh(self) -> None:
        """There is nobody to see."""

    def take(self, start: Start) -> Lease | None:
        """Whatever is asked for."""
        self._next_id += 1
        return Lease(f"fake-{self._next_id}", -1)

    def finish(self, job: Job, *, reuse: bool = True) -> None:
        """Nobody is told."""

    def fault(self, gpus: Sequence[str]) -> str | None:
        """All cards are well."""
        return None

    def remarks(self) -> Sequence[str]:
        """Nothing is odd here."""
        return ()

    def settle(self, hold: Hold | None) -> str | None:
        """Nobody is in the way."""
        return None


class Recorder:
    """Keeps every event; implements `ports.Listener`."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)
