"""`sgs top` in a terminal of its own, with a real queue, and a machine of fake cards."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

import fake_nvml
from fake_nvml import library
from simple_gpu_scheduler.queue.records import OPEN_STATES, QueuedJob
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from waiting import BOUND_S

__all__ = ["library", "site"]

SGS = str(Path(sys.executable).parent / "sgs")
UP, DOWN, END, HOME, ESCAPE = "\x1b[A", "\x1b[B", "\x1b[F", "\x1b[H", "\x1b"

#: Makes the terminal on stdin its own, as a login does, then becomes the command.
_LOGIN = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A terminal with a program in it: what is on its screen, and keys for it."""

    def __init__(self, *command: str, env: dict[str, str], columns: int = 80, lines: int = 24):
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""  #: all that the program has written
        self.ours, self.theirs = os.openpty()
        self._set_size(columns, lines)
        self.before = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, *command],
            stdin=self.theirs, stdout=self.theirs, stderr=self.theirs,
            env=env, start_new_session=True,
        )  # fmt: skip

    @property
    def lines(self) -> list[str]:
        return [one.rstrip() for one in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def until(self, seen: Callable[[], object], what: str) -> None:
        """Read what the program writes until it is so."""
        until_s = time.monotonic() + BOUND_S
        while not seen():
            assert time.monotonic() < until_s, f"never seen: {what}\n{self.text}"
            self._read(0.05)

    def until_shown(self, pattern: str) -> None:
        self.until(lambda: re.search(pattern, self.text, re.M), pattern)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def wait(self) -> int:
        """The exit status of the program."""
        self.until(lambda: self.process.poll() is not None, "the end of the program")
        self._read(0)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.ours, self.theirs):
            os.close(fd)

    def _read(self, timeout_s: float) -> None:
        while select.select([self.ours], [], [], timeout_s)[0]:
            data = os.read(self.ours, 1 << 16)
            self.raw += data
            self._stream.feed(data)
            timeout_s = 0

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


class Site:
    """A user's machine: two cards, a queue with a server on them, and terminals."""

    def __init__(self, machine: fake_nvml.Machine, path: Path) -> None:
        self.machine = machine
        self.path = path / "a b\n'\"é"
        self.path.mkdir()
        machine.write(
            fake_nvml.card("GPU-a", name="NVIDIA H100", memory="81920 500", utilisation=97),
            fake_nvml.card("GPU-b", name="NVIDIA H100", memory="81920 700", utilisation=3),
        )
        clean = machine.environ(LANG="C.UTF-8", TERM="xterm-256color")
        self.env = {k: v for k, v in clean.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.sgs("server", "start")
        self.store = QueueStore(str(self.folder / "queue.sqlite3"))
        self.terminals: list[Terminal] = []

    def sgs(self, *words: str | bytes, lines: bytes | None = None) -> str:
        done = subprocess.run(
            [SGS, *words], cwd=self.path, env=self.env, input=lines, capture_output=True,
            timeout=BOUND_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    @property
    def folder(self) -> Path:
        """That of the queue."""
        (found,) = Path(self.env["SGS_STATE_DIR"]).glob("queue/*")
        return found

    def submit(self, *words: str | bytes) -> int:
        return int(self.sgs("submit", *words).split()[0])

    def entry(self, job: int) -> QueuedJob:
        entry = self.store.entry(job)
        assert entry is not None
        return entry

    def state(self, job: int) -> str:
        return self.entry(job).state

    def top(self, *words: str, env: dict[str, str] | None = None, **size: int) -> Terminal:
        """`sgs top`, once it has read the queue."""
        terminal = Terminal(SGS, "top", *words, env={**self.env, **(env or {})}, **size)
        self.terminals.append(terminal)
        terminal.until(lambda: "quit" in terminal.lines[-1], "the keys")
        terminal.until(lambda: "GPUs free" in terminal.lines[0], "the header")
        return terminal

    def close(self) -> None:
        for terminal in self.terminals:
            terminal.close()
        found = [str(one.id) for one in self.store.entries(states=OPEN_STATES)]
        if found:
            self.sgs("cancel", *found)
        self.store.close()
        self.sgs("server", "stop")


@pytest.fixture
def site(library: Path, tmp_path: Path) -> Iterator[Site]:
    one = Site(fake_nvml.Machine(library, tmp_path), tmp_path)
    yield one
    one.close()
