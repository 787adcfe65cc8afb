"""The whole terminal as a screen that is drawn again and again, and given back as it was."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from simple_gpu_scheduler.system.fds import drain, write_whole
from simple_gpu_scheduler.text.printable import printable

_ENTER, _LEAVE = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_ENDS = (signal.SIGTERM, signal.SIGHUP)


class Screen:
    """A context manager. Keys come one by one, without echo. A change of size ends a sleep."""

    def __init__(self) -> None:
        self._settings: list[object] | None = None
        self._woken, self._wake = os.pipe()
        for fd in (self._woken, self._wake):
            os.set_blocking(fd, False)
        self.fds = [self._woken]  #: readable when there is something to `read`
        if os.isatty(0):
            self.fds.append(0)

    def __enter__(self) -> Screen:
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGWINCH, lambda *_: None)
        signal.signal(signal.SIGTSTP, self._suspend)
        for number in _ENDS:
            signal.signal(number, _end)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        signal.set_wakeup_fd(-1)

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, but no more than the terminal has."""
        shown = lines[: self.size().lines]
        text = f"{_REST_OF_LINE}\n".join(map(printable, shown))
        write_whole(1, f"{_HOME}{text}{_REST_OF_LINE}{_REST_OF_SCREEN}".encode(errors="replace"))

    def size(self) -> os.terminal_size:
        """Return the columns and lines of the terminal; 80 and 24 if they are unknown."""
        try:
            size = os.get_terminal_size(1)
        except OSError:
            size = os.terminal_size((0, 0))
        return os.terminal_size((size.columns or 80, size.lines or 24))

    def read(self, ready: frozenset[int]) -> bytes:
        """Return the keys that were pressed; `ready` are the descriptors that can be read."""
        if self._woken in ready:
            drain(self._woken)
        keys = os.read(0, 64) if 0 in ready else b""
        if 0 in ready and not keys:  # stdin is at its end: no key will come
            self.fds.remove(0)
        return keys

    def _take(self) -> None:
        if 0 in self.fds:
            with suppress(termios.error):
                self._settings = termios.tcgetattr(0)
                tty.setcbreak(0)
        sys.stdout.flush()
        write_whole(1, _ENTER)

    def _give_back(self) -> None:
        with suppress(OSError):
            write_whole(1, _LEAVE)
        if self._settings is not None:
            with suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, self._settings)  # type: ignore[arg-type]

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Give the terminal back while this process is stopped (^Z)."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
