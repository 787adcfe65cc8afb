"""Runs commands under the meter: bounded in time, and leaving nothing behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from .errors import RunFailed

MILLISECOND = 1_000_000  # in nanoseconds
JOB_NAME = "stamp"  # the kernel's name of a benchmark job: its process is not the dispatcher's


@dataclass(frozen=True)
class Usage:
    """What the meter reports."""

    status: int
    started_ns: int
    ended_ns: int
    own_cpu_ns: int
    all_cpu_us: int
    peak_kib: int

    @property
    def wall_ms(self) -> float:
        return (self.ended_ns - self.started_ns) / MILLISECOND

    @property
    def own_cpu_ms(self) -> float:
        return self.own_cpu_ns / MILLISECOND

    @property
    def all_cpu_ms(self) -> float:
        return self.all_cpu_us / 1000


@dataclass(frozen=True)
class Activity:
    """What a dispatcher has done so far: sums over its processes and threads."""

    wakeups: int
    cpu_ns: int


class Run:
    """A command under the meter, in its own session. On leaving the `with`, all of it is gone."""

    def __init__(
        self,
        meter: Path,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> None:
        self.command = list(command)
        self.folder = folder
        self.report = folder / "meter"
        self.log = folder / "log"
        self.began_ns = time.monotonic_ns()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(meter), str(self.report), *self.command],
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=log,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def wait(self, timeout_s: float) -> Usage:
        """The usage of a command that ends by itself and well; RunFailed otherwise."""
        if not self.ended(timeout_s):
            self.kill()
            raise RunFailed(f"still running after {timeout_s:.0f} s; {self.last_words()}")
        usage = self.usage()
        if usage.status != 0:
            raise RunFailed(f"exit status {usage.status}; {self.last_words()}")
        return usage

    def ended(self, timeout_s: float = 0) -> bool:
        if self.process.poll() is not None:
            return True
        descriptor = os.pidfd_open(self.process.pid)
        try:
            select.select([descriptor], [], [], timeout_s)
        finally:
            os.close(descriptor)
        return self.process.poll() is not None

    def usage(self) -> Usage:
        try:
            return Usage(*map(int, self.report.read_text().split()))
        except (OSError, ValueError, TypeError):
            raise RunFailed(f"no report from the meter; {self.last_words()}") from None

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"it said: {lines[-1][:200]}" if lines else "it said nothing"

    def kill(self) -> None:
        """Kills everything below the meter, which then reports and exits, or is killed too."""
        deadline = time.monotonic() + 5
        while not self.ended(0.005) and time.monotonic() < deadline:
            for pid in self.descendants():
                kill_quietly(pid)
        if not self.ended():
            self.process.kill()
            self.process.wait()

    def descendants(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for pid, parent in parents():
            children.setdefault(parent, []).append(pid)
        found: list[int] = []
        queue = [self.process.pid]
        while queue:
            below = children.get(queue.pop(), [])
            found += below
            queue += below
        return found

    def dispatchers(self) -> list[int]:
        """Everything below the meter but the jobs."""
        return [pid for pid in self.descendants() if process_name(pid) not in (JOB_NAME, "")]

    def activity(self) -> Activity:
        pids = self.dispatchers()
        return Activity(sum(map(wakeups, pids)), sum(map(cpu_ns, pids)))

    def memory_mb(self) -> float:
        """The peak resident memory of the dispatcher's processes, in MB."""
        return sum(memory_peak_kib(pid) for pid in self.dispatchers()) * 1024 / 1e6


def kill_quietly(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
        os.kill(pid, signal.SIGKILL)


def parents() -> Iterator[tuple[int, int]]:
    """Each process and its parent."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path("/proc", entry, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(entry), int(text.rpartition(")")[2].split()[1])


def process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def status_field(path: Path, field: str) -> int:
    try:
        for line in path.read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def wakeups(pid: int) -> int:
    """How often the threads of a process went to sleep, which is how often they had been woken."""
    tasks = Path(f"/proc/{pid}/task").glob("*/status")
    return sum(status_field(path, "voluntary_ctxt_switches") for path in tasks)


def memory_peak_kib(pid: int) -> int:
    return status_field(Path(f"/proc/{pid}/status"), "VmHWM")


def cpu_ns(pid: int) -> int:
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)  # see cpu_clock in meter.c
    except OSError:
        return 0
