"""Who writes to a results directory: each scheduler has a file there, its mark, and locks it.

Only the owner of the mark can hold the lock (`ofd_lock`). It is taken before anybody else can open
the file and lock it first. The directory itself could be locked by anybody. The kernel drops the
lock when the scheduler ends, however it ends. The mark contains the inode of its directory, as
others could link it into another one.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.files.folders import CAREFUL, Folder
from simple_gpu_scheduler.results.file_names import MARK_PREFIX, UNLOCKED_SUFFIX
from simple_gpu_scheduler.system import ofd_lock
from simple_gpu_scheduler.system.fds import write_whole

_FOR_ALL_TO_READ = 0o644


class Mark:
    """The mark of this process. It is locked until it is closed or the process ends."""

    def __init__(self, folder: Folder) -> None:
        """Make and lock the mark.

        Raises:
            OSError: it can't be made.
        """
        self._folder = folder
        self.name = f"{MARK_PREFIX}{os.urandom(8).hex()}"
        hidden = (
            self.name + UNLOCKED_SUFFIX
        )  # an unlocked mark would be removed as one of a dead scheduler
        self._fd = folder.create(hidden)
        try:
            with suppress(OSError):  # a file system without locks
                ofd_lock.lock(self._fd)
            write_whole(self._fd, _text(folder))
            os.fchmod(self._fd, _FOR_ALL_TO_READ)
            self.uid = os.fstat(
                self._fd
            ).st_uid  #: the owner of our files there (root may be mapped to another user)
            folder.rename(hidden, self.name)
        except OSError:
            self.name = hidden
            self.close()
            raise

    def close(self) -> None:
        """Remove the mark."""
        with suppress(OSError):
            self._folder.remove(self.name)
        os.close(self._fd)

    def others(self) -> set[int]:
        """Return the users whose schedulers write there beside this one.

        Marks that dead schedulers of this user have left are removed.
        """
        users: set[int] = set()
        for name in _marks(self._folder):
            mark = _read_mark(self._folder, name)
            if mark.lives and mark.inode != os.fstat(self._fd).st_ino:
                users.add(mark.uid)
            elif not mark.lives and mark.uid == self.uid and not name.endswith(UNLOCKED_SUFFIX):
                with suppress(OSError):
                    self._folder.remove(name)
        return users


class Writers(NamedTuple):
    """The users who have a mark in a results directory."""

    living: set[int]  #: a scheduler of theirs writes there
    known: set[int]  #: these users, and those whose schedulers were killed


class _MarkState(NamedTuple):
    """A mark, as its file shows it."""

    uid: int = -1  #: its owner
    inode: int = 0
    lives: bool = False  #: its scheduler runs
    is_mark: bool = False  #: it belongs to this directory


def writers(folder: Folder) -> Writers:
    """Return the users whose schedulers write to a results directory, or have written."""
    marks = [_read_mark(folder, name) for name in _marks(folder)]
    living = {mark.uid for mark in marks if mark.lives}
    return Writers(living, {mark.uid for mark in marks if mark.is_mark})


def _marks(folder: Folder) -> list[str]:
    try:
        return [name for name in folder.names() if name.startswith(MARK_PREFIX)]
    except OSError:  # a directory that can be written, but not listed
        return []


def _read_mark(folder: Folder, name: str) -> _MarkState:
    try:
        fd = os.open(name, os.O_RDONLY | CAREFUL, dir_fd=folder.fd)
    except OSError:
        return _MarkState()
    try:
        status = os.fstat(fd)
        is_mark = stat.S_ISREG(status.st_mode) and os.pread(fd, 64, 0) == _text(folder)
        lives = is_mark and ofd_lock.is_locked(fd)
        return _MarkState(status.st_uid, status.st_ino, lives, is_mark)
    except OSError:
        return _MarkState()
    finally:
        os.close(fd)


def _text(folder: Folder) -> bytes:
    return b"%d\n" % os.fstat(folder.fd).st_ino
