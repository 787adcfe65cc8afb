"""Sleeps in the kernel until something happens: a child ends, a signal comes, input is ready.

Signals, also SIGCHLD, stay blocked except during the sleep, so that none is lost just before it.
Without input to wait for, the sleep is sigtimedwait(2), one system call. With input it is poll(2),
and signals come through a pipe (`signal.set_wakeup_fd`). Neither needs pidfd_open(2), so that
kernels before 5.3 are enough.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.processes.ports import Woken
from simple_gpu_scheduler.system.fds import wait_readable

#: The signals that end a run; `pipe.shutdown` says how.
ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)

_NOTHING_HAPPENED = Woken(False, ())
_CHILD = bytes([signal.SIGCHLD])

#: No sleep is longer: sigtimedwait(2) has a limit. The loop then sleeps again.
_LONGEST_S = 1_000_000.0


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal in Python: its number is already in the pipe."""


class KernelWait:
    """Implements `processes.ports.Wait`. One a program: it takes over the program's signals."""

    def __init__(self, input_fd: int) -> None:
        """Block the signals, and handle them from now on.

        Args:
            input_fd: The descriptor of the input.

        Raises:
            SgsError: No descriptor is left.
        """
        self._input_fd = input_fd
        try:
            self._wakeup_fd, write_fd = os.pipe()
        except OSError as error:
            raise SgsError(f"no pipe can be had for signals: {error.strerror}") from None
        os.set_blocking(self._wakeup_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        # Signals that were ignored at the start (nohup, `&` in a script) stay ignored.
        ending = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
        self._signals = {signal.SIGCHLD, signal.SIGWINCH, *ending}
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        for number in self._signals:
            signal.signal(number, _do_nothing)

    def wait(
        self, timeout_s: float | None, *, want_input: bool, watch_fd: int | None = None
    ) -> Woken:
        """Sleep; see `processes.ports.Wait`."""
        if timeout_s is not None:
            timeout_s = max(0.0, min(timeout_s, _LONGEST_S))
        if want_input or watch_fd is not None:
            fds = (self._input_fd if want_input else None, watch_fd)
            ready, numbers = self._poll([fd for fd in fds if fd is not None], timeout_s)
            return Woken(self._input_fd in ready, numbers, watch_fd in ready)
        number = self._wait_for_signal(timeout_s)
        return _NOTHING_HAPPENED if number in (None, signal.SIGCHLD) else Woken(False, (number,))

    def _wait_for_signal(self, timeout_s: float | None) -> int | None:
        if timeout_s is None:
            return signal.sigwaitinfo(self._signals).si_signo
        info = signal.sigtimedwait(self._signals, timeout_s)
        return None if info is None else info.si_signo

    def _poll(
        self, fds: Iterable[int], timeout_s: float | None
    ) -> tuple[frozenset[int], tuple[int, ...]]:
        """Sleep; return the descriptors that are ready, and the signals that came."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
        try:
            ready = wait_readable((self._wakeup_fd, *fds), timeout_s)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        numbers = b""
        with suppress(BlockingIOError):
            numbers = os.read(self._wakeup_fd, 4096)
        return ready, tuple(numbers.translate(None, _CHILD))
