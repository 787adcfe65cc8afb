"""A command on a terminal of a given size, as its user sees it and types to it."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from waiting import BOUND_S


class Terminal:
    """A context manager; what is left of the command at its end is killed."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, size: tuple[int, int]
    ) -> None:
        """`size`: lines and columns."""
        self._ours, theirs = os.openpty()
        self.resize(*size)
        self.settings = termios.tcgetattr(theirs)
        env = {k: v for k, v in env.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, env={**env, "TERM": "xterm"}, cwd=cwd, start_new_session=True,
            stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=_take_the_terminal,
        )  # fmt: skip
        self._theirs = theirs
        self.shown = ""  #: all that was printed since the last `forget`

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def resize(self, lines: int, columns: int) -> None:
        """Another size; the command is told as a terminal does."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def wait_for(self, text: str) -> str:
        """Read until the text has come; returns all that was shown."""
        until_s = time.monotonic() + BOUND_S
        while text not in self.shown and text not in plain(self.shown):
            assert time.monotonic() < until_s, f"{text!r} never came: {self.shown!r}"
            self.read(0.1)
        return self.shown

    def read(self, limit_s: float = 0.0) -> None:
        """Read what is there, or comes soon."""
        if select.select([self._ours], [], [], limit_s)[0]:
            self.shown += os.read(self._ours, 1 << 16).decode(errors="replace")

    def forget(self) -> None:
        """Look at what comes from now on."""
        self.shown = ""

    def end(self) -> int:
        """Wait for the command to end; returns its exit status."""
        until_s = time.monotonic() + BOUND_S
        while self.process.poll() is None:
            assert time.monotonic() < until_s, f"it doesn't end: {self.shown!r}"
            if select.select([self._ours], [], [], 0.05)[0]:
                self.shown += os.read(self._ours, 1 << 16).decode()
        while select.select([self._ours], [], [], 0)[0]:
            self.shown += os.read(self._ours, 1 << 16).decode()
        return self.process.returncode

    def settings_now(self) -> list[object]:
        """How the terminal is set up."""
        return termios.tcgetattr(self._theirs)


def _take_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def plain(text: str) -> str:
    """What was shown, without what steers the terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]0;[^\x07]*\x07|\x1b\(B|.\x08", "", text)


def screens(text: str) -> list[list[str]]:
    """What was drawn, one screen after the other, as lines."""
    parts = text.split("\x1b[H")[1:]
    return [part.split("\x1b[J")[0].replace("\x1b[K", "").split("\r\n") for part in parts]
