"""Sleep in the kernel until something happens: a child's end, a signal, input.

Signals, SIGCHLD among them, stay blocked but for the sleep itself, so that none can be lost
between looking and sleeping. Without input to wait for that is sigtimedwait(2), one call of the
kernel; with input it is poll(2), and the signals come through a pipe (`signal.set_wakeup_fd`).
Neither needs pidfd_open(2), so that kernels before 5.3 serve as well.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.processes.ports import Woken

#: The signals that end a run, by design.md's table.
ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)

_NOTHING = Woken(False, ())
_CHILD = bytes([signal.SIGCHLD])

#: No sleep is longer; poll(2) takes no more. The loop then just looks again.
_LONGEST_S = 1_000_000.0


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Python's handler: the number is in the pipe already."""


class KernelWait:
    """Implements `ports.Wait`. Takes over the process's signal handling; one a process."""

    def __init__(self, input_fd: int) -> None:
        self._input_fd = input_fd
        try:
            self._wakeup_fd, write_fd = os.pipe()
        except OSError as error:
            raise SgsError(f"no pipe can be had for signals: {error.strerror}") from None
        os.set_blocking(self._wakeup_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        # What was ignored at the start (nohup, `&` in a script) stays so.
        heard = [one for one in ENDING if signal.getsignal(one) != signal.SIG_IGN]
        self._signals = {signal.SIGCHLD, signal.SIGWINCH, *heard}
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        for number in self._signals:
            signal.signal(number, _noted)

    def wait(
        self, timeout_s: float | None, *, want_input: bool, watch_fd: int | None = None
    ) -> Woken:
        """Sleep; see `ports.Wait`."""
        if timeout_s is not None:
            timeout_s = max(0.0, min(timeout_s, _LONGEST_S))
        if want_input or watch_fd is not None:
            wanted = (self._input_fd if want_input else None, watch_fd)
            ready, numbers = self._poll([fd for fd in wanted if fd is not None], timeout_s)
            return Woken(self._input_fd in ready, numbers, watch_fd in ready)
        number = self._wait_for_signal(timeout_s)
        return _NOTHING if number in (None, signal.SIGCHLD) else Woken(False, (number,))

    def _wait_for_signal(self, timeout_s: float | None) -> int | None:
        if timeout_s is None:
            return signal.sigwaitinfo(self._signals).si_signo
        info = signal.sigtimedwait(self._signals, timeout_s)
        return None if info is None else info.si_signo

    def _poll(
        self, fds: Iterable[int], timeout_s: float | None
    ) -> tuple[set[int], tuple[int, ...]]:
        """The descriptors that are ready, and the signals that came."""
        poll = select.poll()
        for fd in (self._wakeup_fd, *fds):
            poll.register(fd, select.POLLIN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
        try:
            ready = poll.poll(None if timeout_s is None else timeout_s * 1000)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        numbers = b""
        with suppress(BlockingIOError):
            numbers = os.read(self._wakeup_fd, 4096)
        return {fd for fd, _ in ready}, tuple(numbers.translate(None, _CHILD))
