"""The lock of the lease directory, for the microseconds in which somebody allocates.

It keeps allocators from getting into each other's way; that no GPU is given twice doesn't hang on
it. For anybody may lock the directory, and keep it locked: then it is done without.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time

from simple_gpu_scheduler.leases.errors import unusable
from simple_gpu_scheduler.leases.files import LeaseFiles
from simple_gpu_scheduler.system.lock_holders import format_lock_holder

PATIENCE_S = 1.0
_RETRY_S = 0.001

#: In so long our patience comes back: whoever locks the directory again and again gains nothing.
_RECOVERY_S = 60.0

#: What a terminal sends. One that is stopped or interrupted in the middle would be in the way of
#: others, or forget what it has taken. (Of a program's threads, the others still hear it.)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class DirectoryLock:
    """Held within a `with` block, which the terminal doesn't disturb."""

    def __init__(self, files: LeaseFiles, patience_s: float = PATIENCE_S) -> None:
        self._files = files
        self._patience_s = patience_s
        self._fd = -1
        self._whose = (0, (0, 0))
        self._masked: set[signal.Signals | int] = set()
        self._left_s, self._at_s = patience_s, time.monotonic()  # of our patience, and when
        self.is_held = False  #: within the block: by us
        self.remarks: list[str] = []  #: whom we have waited for in vain; to be told once

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> None:
        """Take it, or go on without, once our patience is at its end; see `is_held`.

        The wait can be interrupted.

        Raises:
            SgsError: the directory can't be used.
        """
        fd = self._descriptor()
        begun_s = 0.0
        while True:
            self._masked = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINAL)
            try:
                self.is_held = self._take(fd)
            except BaseException:
                signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)
                raise
            if self.is_held and not begun_s:
                return  # at once, as mostly
            now_s = time.monotonic()
            begun_s = begun_s or now_s
            if self.is_held or now_s - begun_s >= self._patience(begun_s):
                self._spend(fd, begun_s, now_s)
                return
            signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)
            time.sleep(_RETRY_S)

    def __exit__(self, *_: object) -> None:
        """Let go: explicitly, since a child that was forked meanwhile shares the descriptor."""
        if self.is_held:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)

    def _patience(self, now_s: float) -> float:
        """How long to wait at most, as of then."""
        recovered_s = (now_s - self._at_s) / _RECOVERY_S * self._patience_s
        return min(self._patience_s, self._left_s + recovered_s)

    def _spend(self, fd: int, begun_s: float, now_s: float) -> None:
        had_s = self._patience(begun_s)
        self._left_s, self._at_s = max(0.0, had_s - (now_s - begun_s)), now_s
        if not self.is_held and had_s > self._patience_s / 2:  # else it was told a moment ago
            self.remarks.append(
                f"{format_lock_holder(fd)} has {self._files.path} locked for {had_s:.2g} s now; "
                "going on without the lock (fuser -v shows who has it)"
            )

    def _descriptor(self) -> int:
        """Of the directory that is there now, and ours alone: a forked child that shared it with
        its parent would not be excluded by that.
        """
        folder = self._files.folder
        try:
            whose = os.getpid(), self._files.identity
            if self._whose != whose:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                fd = os.open(".", flags, dir_fd=folder.fd)
                if self._fd >= 0:
                    os.close(self._fd)
                self._fd, self._whose = fd, whose
        except OSError as error:
            raise unusable(folder, error) from None
        return self._fd

    def _take(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise unusable(self._files.folder, error) from None
        return True
