"""The lock of the lease directory. An allocator holds it for microseconds.

It keeps allocators out of each other's way. Anybody may lock the directory and keep it locked;
after a while we go on without the lock. So nothing depends on it to keep a GPU from being given
twice: `FileLeaseStore.confirm` does that.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time

from simple_gpu_scheduler.leases.errors import unusable
from simple_gpu_scheduler.leases.lease_files import LeaseFiles
from simple_gpu_scheduler.system.lock_holders import format_lock_holder

PATIENCE_S = 1.0
_RETRY_S = 0.001

#: Seconds after which we are willing to wait the full time again. Waiting uses that time up, so
#: a program that locks the directory again and again can't delay us each time.
_RECOVERY_S = 60.0

#: Signals that a terminal sends. A program that is stopped while it holds the lock would block
#: others; one that is interrupted could forget a lease that it has taken. Only this thread blocks
#: the signals: other threads of the program still get them.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class DirectoryLock:
    """A lock that is held within a `with` block; the terminal's signals wait until its end."""

    def __init__(self, files: LeaseFiles, patience_s: float = PATIENCE_S) -> None:
        self._files = files
        self._patience_s = patience_s
        self._fd = -1
        self._opened_for = (0, (0, 0))  # our pid, and the identity of the directory
        self._masked: set[signal.Signals | int] = set()
        #: How long we are still willing to wait, and when that was so.
        self._left_s, self._at_s = patience_s, time.monotonic()
        self.is_held = False  #: True within the block if we got the lock
        self.remarks: list[str] = []  #: who kept the lock while we waited; for the user, each once

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> None:
        """Take the lock, or go on without it if others keep it for too long; see `is_held`.

        Signals can interrupt the wait.

        Raises:
            SgsError: the directory can't be used.
        """
        fd = self._descriptor()
        begun_s = 0.0  # when we found the lock taken
        while True:
            self._masked = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINAL)
            try:
                self.is_held = self._take(fd)
            except BaseException:
                signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)
                raise
            if self.is_held and not begun_s:
                return  # got at once, the usual case
            now_s = time.monotonic()
            begun_s = begun_s or now_s
            if self.is_held or now_s - begun_s >= self._patience(begun_s):
                self._spend(fd, begun_s, now_s)
                return
            signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)
            time.sleep(_RETRY_S)

    def __exit__(self, *_: object) -> None:
        """Unlock explicitly: a child that was forked meanwhile shares the descriptor."""
        if self.is_held:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masked)

    def _patience(self, now_s: float) -> float:
        """The longest wait in seconds, for a wait that begins at `now_s`."""
        recovered_s = (now_s - self._at_s) / _RECOVERY_S * self._patience_s
        return min(self._patience_s, self._left_s + recovered_s)

    def _spend(self, fd: int, begun_s: float, now_s: float) -> None:
        had_s = self._patience(begun_s)
        self._left_s, self._at_s = max(0.0, had_s - (now_s - begun_s)), now_s
        # With less patience than that, the user was warned a moment ago.
        if not self.is_held and had_s > self._patience_s / 2:
            self.remarks.append(
                f"{format_lock_holder(fd)} has {self._files.path} locked for {had_s:.2g} s now; "
                "going on without the lock (fuser -v shows who holds it)"
            )

    def _descriptor(self) -> int:
        """A descriptor of the directory that is there now, opened by this process.

        A forked child opens its own: with the parent's descriptor it would share the lock.
        """
        folder = self._files.folder
        try:
            opened_for = os.getpid(), self._files.identity
            if self._opened_for != opened_for:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                fd = os.open(".", flags, dir_fd=folder.fd)
                if self._fd >= 0:
                    os.close(self._fd)
                self._fd, self._opened_for = fd, opened_for
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
