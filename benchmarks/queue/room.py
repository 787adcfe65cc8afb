"""Where one queue is measured: a folder, the jobs that are run in it, and all of its processes."""

from __future__ import annotations

import ctypes
import os
import resource
import shlex
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.bench import Bench, Stamps
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.process import cpu_ns, kill_quietly, parents, process_name

LIMIT_S = 120.0
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_AGAIN_S = 0.01
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass
class Room:
    """A folder on disk with a gate: jobs that wait at it hold their slots until it is opened.

    `stamps` is in memory, so that no disk is measured.
    """

    bench: Bench
    disk: Path
    memory: Path
    environment: dict[str, str]

    # Jobs ------------------------------------------------------------------------------------

    @property
    def stamps(self) -> Path:
        return self.memory / "stamps"

    @property
    def gate(self) -> Path:
        return self.disk / "gate"

    def gate_line(self) -> str:
        """A job that holds a slot while the gate is closed, without using any CPU."""
        at_gate = shlex.quote(str(self.memory / "at-gate"))
        return f"echo >> {at_gate}; exec cat {shlex.quote(str(self.gate))}"

    def stamp_line(self, milliseconds: int | None = None) -> str:
        """A job that stamps when it starts and ends, in place of its shell."""
        pause = [] if milliseconds is None else [str(milliseconds)]
        return shlex.join(["exec", str(self.bench.tools.stamp), str(self.stamps), *pause])

    def no_ops(self, jobs: int) -> list[str]:
        """`true`; the first and the last stamp, so that what lies between can be timed."""
        return [self.stamp_line(), *["true"] * (jobs - 2), self.stamp_line()]

    def all_stamped(self, jobs: int) -> list[str]:
        """For a queue that starts them in no order, and so slowly that a stamp costs nothing."""
        return [self.stamp_line()] * jobs

    def wait_at_gate(self, jobs: int, limit_s: float = 60) -> None:
        """Wait until so many jobs hold slots."""
        path = self.memory / "at-gate"
        wait_until(
            lambda: path.exists() and path.stat().st_size >= jobs,
            f"{jobs} jobs hold the slots",
            limit_s,
        )

    def open_gate(self) -> None:
        """Let those go that wait, and all that come."""
        fd = os.open(self.gate, os.O_RDWR)  # who waits to open it, has it open now
        opened = self.disk / "opened"
        opened.touch()
        os.replace(opened, self.gate)
        os.close(fd)

    def wait_for_stamps(self, jobs: int, limit_s: float = LIMIT_S) -> Stamps:
        """Wait until so many stamped jobs have ended."""

        def all_ended() -> bool:
            return len(Stamps.read(self.stamps).ends) >= jobs

        wait_until(all_ended, f"{jobs} stamped jobs end", limit_s)
        return Stamps.read(self.stamps)

    # Commands --------------------------------------------------------------------------------

    def call(
        self, command: Sequence[str], lines: Sequence[str] | None = None, limit_s: float = LIMIT_S
    ) -> str:
        """What a command printed; its input is the lines."""
        text = None if lines is None else "".join(f"{line}\n" for line in lines)
        try:
            done = subprocess.run(
                command,
                input=text,
                stdin=subprocess.DEVNULL if text is None else None,
                capture_output=True,
                text=True,
                cwd=self.disk,
                env=self.environment,
                timeout=limit_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunFailed(f"{command[0]}: {error}") from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise RunFailed(f"{command[0]}: exit status {done.returncode}; it said: {said}")
        return done.stdout

    def time_ms(
        self, command: Sequence[str], stdin: Path | None = None, limit_s: float = LIMIT_S
    ) -> float:
        """How long a command takes that prints into a file."""
        printed = self.disk / "printed"
        with open(stdin or os.devnull, "rb") as source, printed.open("wb") as out:
            began_ns = time.perf_counter_ns()
            process = subprocess.Popen(
                command,
                stdin=source,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.disk,
                env=self.environment,
            )
            status = process.wait(limit_s)
            took_ns = time.perf_counter_ns() - began_ns
        if status != 0:
            said = printed.read_text(errors="replace")[-200:]
            raise RunFailed(f"{command[0]}: exit status {status}; it said: {said}")
        return took_ns / 1e6

    def daemon(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process that stays."""
        with open(self.disk / "daemon.log", "ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.disk,
                env=self.environment | dict(environment or {}),
                start_new_session=True,
            )

    def all_cpu_ms(self) -> float:
        """What all processes of the room have used so far, those that are gone included."""
        reap_orphans()
        gone = resource.getrusage(resource.RUSAGE_CHILDREN)
        living_ns = sum(cpu_ns(pid) + reaped_ns(pid) for pid in descendants())
        return (gone.ru_utime + gone.ru_stime) * 1000 + living_ns / 1e6


class Queue(ABC):
    """A queue in a room."""

    room: Room

    @abstractmethod
    def open(self) -> None:
        """Have it ready to accept jobs."""

    @abstractmethod
    def one(self, line: str) -> list[str]:
        """The command that submits one job."""

    @abstractmethod
    def fill(self, lines: Sequence[str]) -> None:
        """Submit many jobs, in the quickest way there is; returns when they are accepted."""

    def submit_many(self, lines: Sequence[str]) -> None:
        """Likewise, in the quickest way that its users are told of."""
        self.fill(lines)

    @abstractmethod
    def ended(self) -> int:
        """How many jobs have ended well, as the queue itself says."""


@contextmanager
def room(bench: Bench) -> Iterator[Room]:
    """A room of its own; on leaving, everything that was started in it is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # daemons become our children
    before = set(descendants())
    with bench.folders() as (memory, disk):
        one = Room(bench, disk, memory, dict(bench.environment) | {"HOME": str(disk)})
        os.mkfifo(one.gate)
        try:
            yield one
        finally:
            end_all(before)


def wait_until(seen: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Look until it is so."""
    until_s = time.monotonic() + limit_s
    while not seen():
        if time.monotonic() > until_s:
            raise RunFailed(f"not within {limit_s:.0f} s: {what}")
        time.sleep(_LOOK_AGAIN_S)


def descendants() -> list[int]:
    """All processes below this one."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def end_all(but: set[int]) -> None:
    """Kill what is below us, and reap it."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        pids = [pid for pid in descendants() if pid not in but]
        if not pids:
            return
        for pid in pids:
            kill_quietly(pid)
        for pid in pids:
            with suppress(ChildProcessError):  # a child of another of them
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.002)
    raise RunFailed(f"can't be killed: {[process_name(pid) for pid in descendants()]}")


def reap_orphans() -> None:
    """What has ended and came to us: only then is its CPU time, and its children's, exact."""
    for pid, parent in parents():
        if parent == os.getpid() and status_word(pid) == "Z":
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def status_word(pid: int) -> str:
    """The state of a process: R, S, Z or another."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def reaped_ns(pid: int) -> int:
    """The CPU time of a process's children that it has waited for; in steps of 10 ms."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text.rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * _TICK_NS
