"""Sleep in the kernel until something happens: a child's end, a signal, input.

Signals, SIGCHLD among them, come through a pipe (`signal.set_wakeup_fd`), so that one poll(2)
waits for everything and none can be lost between looking and sleeping. It needs neither
pidfd_open(2) nor epoll(7), so that kernels before 5.3 serve as well.
"""

from __future__ import annotations

import math
import os
import select
import signal
from types import FrameType

from simple_gpu_scheduler.ports import Woken

#: The signals that end a run, by design.md's table.
ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)

_CHILD = bytes([signal.SIGCHLD])


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Python's handler: the number is in the pipe already."""


class KernelWait:
    """Implements `ports.Wait`. Takes over the process's signal handling; one a process."""

    def __init__(self, input_fd: int) -> None:
        self._input_fd = input_fd
        self._wakeup_fd, write_fd = os.pipe()
        os.set_blocking(self._wakeup_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD, *ENDING))  # if inherited
        for number in (signal.SIGCHLD, signal.SIGWINCH):
            signal.signal(number, _noted)
        for number in ENDING:  # what was ignored at the start (nohup, `&` in a script) stays so
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _noted)
        self._poll = select.poll()
        self._poll.register(self._wakeup_fd, select.POLLIN)
        self._wants_input = False

    def wait(self, timeout_s: float | None, *, want_input: bool) -> Woken:
        """Sleep; see `ports.Wait`."""
        if want_input != self._wants_input:
            self._watch_input(want_input)
        timeout_ms = None if timeout_s is None else _milliseconds(timeout_s)
        input_ready = False
        signals: tuple[int, ...] = ()
        for fd, _ in self._poll.poll(timeout_ms):
            if fd == self._wakeup_fd:
                signals = self._signals()
            else:
                input_ready = True
        return Woken(input_ready, signals)

    def _watch_input(self, want_input: bool) -> None:
        if want_input:
            self._poll.register(self._input_fd, select.POLLIN)
        else:
            self._poll.unregister(self._input_fd)
        self._wants_input = want_input

    def _signals(self) -> tuple[int, ...]:
        numbers = os.read(self._wakeup_fd, 4096)
        return tuple(numbers.translate(None, _CHILD))


def _milliseconds(timeout_s: float) -> int:
    """For poll(2), which takes an int: on a longer wait it wakes up in between."""
    return max(0, math.ceil(min(timeout_s, 1_000_000.0) * 1000))
