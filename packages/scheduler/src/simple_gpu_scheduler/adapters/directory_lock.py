"""The lock of the lease directory, for the microseconds in which somebody allocates.

It keeps allocators from getting into each other's way; that no GPU is given twice doesn't hang on
it. For anybody may lock the directory, and keep it locked: then it is done without.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time

from simple_gpu_scheduler.adapters.lease_files import LeaseFiles, unusable
from simple_gpu_scheduler.adapters.lock_holders import who_locks

PATIENCE_S = 1.0
_RETRY_S = 0.001

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
        self._is_stuck = False  # the last time, somebody didn't let go of it
        self.is_held = False  #: within the block: by us
        self.remarks: list[str] = []  #: whom we have waited for in vain; to be told once

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> None:
        """Take it, or go on without, once our patience is at its end; see `is_held`.

        The wait can be interrupted. Where somebody had it for too long the last time, there is
        none.

        Raises:
            SgsError: the directory can't be used.
        """
        fd = self._descriptor()
        until_s = 0.0
        while True:
            self._masked = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINAL)
            try:
                self.is_held = self._take(fd)
            except BaseException:
                signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)
                raise
            now_s = time.monotonic()
            until_s = until_s or now_s + (0 if self._is_stuck else self._patience_s)
            if self.is_held or now_s >= until_s:
                self._note(fd)
                return
            signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)
            time.sleep(_RETRY_S)

    def __exit__(self, *_: object) -> None:
        """Let go: explicitly, since a child that was forked meanwhile shares the descriptor."""
        if self.is_held:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)

    def _note(self, fd: int) -> None:
        if not (self.is_held or self._is_stuck):
            self.remarks.append(
                f"{who_locks(fd)} has {self._files.path} locked for {self._patience_s:g} s now; "
                "going on without the lock (fuser -v shows who has it)"
            )
        self._is_stuck = not self.is_held

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
