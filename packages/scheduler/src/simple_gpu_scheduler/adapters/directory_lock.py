"""The lock of the lease directory, for the microseconds in which somebody allocates."""

from __future__ import annotations

import fcntl
import os
import signal
import time

from simple_gpu_scheduler.adapters.lease_files import unusable
from simple_gpu_scheduler.errors import SgsError

PATIENCE_S = 30.0
_RETRY_S = 0.001

#: What a terminal sends. One that is stopped or interrupted in the middle would be in the way of
#: others, or forget what it has taken. (Of a program's threads, the others still hear it.)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class DirectoryLock:
    """Held within a `with` block, which the terminal doesn't disturb."""

    def __init__(self, path: str, patience_s: float = PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s
        self._fd = -1
        self._whose = (0, 0, 0)
        self._masked: set[signal.Signals | int] = set()

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> None:
        """Take it. The wait can be interrupted, and is bounded: the holder may have been stopped.

        Raises:
            SgsError: the directory can't be used, or another program doesn't let go of it.
        """
        fd = self._descriptor()
        until_s = 0.0
        while True:
            self._masked = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINAL)
            try:
                if self._take(fd):
                    return
            except BaseException:
                signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)
                raise
            signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)
            now_s = time.monotonic()
            until_s = until_s or now_s + self._patience_s
            if now_s > until_s:
                raise SgsError(
                    f"no GPU can be leased: another program has {self._path} locked for "
                    f"{self._patience_s:g} s now (was it stopped? fuser -v shows it)"
                )
            time.sleep(_RETRY_S)

    def __exit__(self, *_: object) -> None:
        """Let go: explicitly, since a child that was forked meanwhile shares the descriptor."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)

    def _descriptor(self) -> int:
        """Of the directory that is there now, and ours alone: a forked child that shared it with
        its parent would not be excluded by that.
        """
        try:
            status = os.stat(self._path)
            whose = os.getpid(), status.st_dev, status.st_ino
            if self._whose != whose:
                fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                if self._fd >= 0:
                    os.close(self._fd)
                self._fd, self._whose = fd, whose
        except OSError as error:
            raise unusable(self._path, error) from None
        return self._fd

    def _take(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise unusable(self._path, error) from None
        return True
