"""Our queue in a room: driven by its commands, counted in its file."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.harness.peers import SLOTS
from benchmarks.harness.process import cpu_ns, status_field, wakeups

from .room import Queue, Room, descendants, reaped_ns

GPUS = ",".join(map(str, range(SLOTS)))


@dataclass(frozen=True)
class Spent:
    """What server and launcher have used so far, and what the jobs have."""

    own_ns: int
    jobs_ns: int
    wakeups: int


class OurQueue(Queue):
    """`sgs` with a state directory of its own."""

    def __init__(self, room: Room, sgs: Path) -> None:
        self.room = room
        self.sgs = str(sgs)
        room.environment["SGS_STATE_DIR"] = str(room.disk / "state")
        room.environment["SGS_LEASE_DIR"] = str(room.disk / "leases")

    # What every queue can do ------------------------------------------------------------------

    def open(self) -> None:
        self.serve("start", "--gpus", GPUS)

    def one(self, line: str) -> list[str]:
        return [self.sgs, "submit", "--", line]

    def fill(self, lines: Sequence[str]) -> None:
        """All lines in one transaction."""
        path = self.room.disk / "lines"
        with path.open("w") as file:
            file.writelines(f"{line}\n" for line in lines)
        self.room.time_ms([self.sgs, "submit"], stdin=path, limit_s=600)

    def ended(self) -> int:
        """How many jobs have succeeded, says the file."""
        return int(self.ask("SELECT count(*) FROM jobs WHERE state = 'succeeded'")[0])

    # What only ours is asked ------------------------------------------------------------------

    def serve(self, *words: str) -> None:
        self.room.call([self.sgs, "server", *words])

    @cached_property
    def folder(self) -> Path:
        about = json.loads(self.room.call([self.sgs, "server", "status", "--json"]))
        return Path(about["folder"])

    @property
    def file(self) -> Path:
        return self.folder / "queue.sqlite3"

    def ask(self, query: str) -> tuple[float, ...]:
        """The first row of what the file answers."""
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=30)) as file:
            row: tuple[float, ...] = file.execute(query).fetchone()
            return row

    def server_pid(self) -> int:
        about = json.loads(self.room.call([self.sgs, "server", "status", "--json"]))
        return int(about["pid"])

    def launcher_pids(self) -> list[int]:
        """Processes that were told where the queue is, but the server."""
        server, folder = self.server_pid(), os.fsencode(self.folder)
        return [pid for pid in descendants() if pid != server and folder in command_of(pid)]

    def processes(self) -> list[int]:
        return [self.server_pid(), *self.launcher_pids()]

    def spent(self, pids: Sequence[int]) -> Spent:
        """The jobs are children of these processes."""
        below = set(descendants()) - set(pids)
        jobs_ns = sum(map(reaped_ns, pids)) + sum(map(cpu_ns, below))
        return Spent(sum(map(cpu_ns, pids)), jobs_ns, sum(map(wakeups, pids)))


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def resident_mb(pid: int) -> float:
    return status_field(Path(f"/proc/{pid}/status"), "VmRSS") * 1024 / 1e6


def proportional_mb(pid: int) -> float:
    """Pages that several processes share are divided among them."""
    return status_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss") * 1024 / 1e6


def peak_mb(pid: int) -> float:
    return status_field(Path(f"/proc/{pid}/status"), "VmHWM") * 1024 / 1e6
