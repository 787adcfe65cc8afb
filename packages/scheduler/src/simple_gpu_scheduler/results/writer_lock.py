"""Who writes to a results directory: each scheduler has a file there, which it keeps locked.

Only its owner can hold the lock (`ofd_lock`), and it is taken before anybody else can open the
file, to keep us from having it. Anybody could lock the directory itself. The lock goes with its
process, however that ends. The file says of which directory it is, as others may give it a name
elsewhere.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.files.folders import CAREFUL, Folder
from simple_gpu_scheduler.system import ofd_lock
from simple_gpu_scheduler.system.fds import write_whole

_PREFIX, _NOT_YET = ".scheduler-", ".new"
_FOR_ALL_TO_READ = 0o644


class Mark:
    """Ours, from now on until it is closed or the process ends."""

    def __init__(self, folder: Folder) -> None:
        """Make it.

        Raises:
            OSError: it can't be made.
        """
        self._folder = folder
        self.name = f"{_PREFIX}{os.urandom(8).hex()}"
        hidden = self.name + _NOT_YET  # until it is locked; unlocked ones are removed
        self._fd = folder.create(hidden)
        try:
            with suppress(OSError):  # without locks nobody can know
                ofd_lock.lock(self._fd)
            write_whole(self._fd, _text(folder))
            os.fchmod(self._fd, _FOR_ALL_TO_READ)
            self.uid = os.fstat(self._fd).st_uid  #: as whose our files are shown there
            folder.rename(hidden, self.name)
        except OSError:
            self.name = hidden
            self.close()
            raise

    def close(self) -> None:
        """Take it away."""
        with suppress(OSError):
            self._folder.remove(self.name)
        os.close(self._fd)

    def others(self) -> set[int]:
        """Whose schedulers write there beside this one; marks of ours that died are removed."""
        found: set[int] = set()
        for name in _marks(self._folder):
            mark = _read_mark(self._folder, name)
            if mark.lives and mark.inode != os.fstat(self._fd).st_ino:
                found.add(mark.uid)
            elif not mark.lives and mark.uid == self.uid and not name.endswith(_NOT_YET):
                with suppress(OSError):
                    self._folder.remove(name)
        return found


class Writers(NamedTuple):
    """The users of whom there are marks."""

    living: set[int]  #: a scheduler of theirs writes there
    known: set[int]  #: those, and whose schedulers were killed


class _Look(NamedTuple):
    """What can be seen of somebody's mark."""

    uid: int = -1
    inode: int = 0
    lives: bool = False  #: its scheduler does
    is_mark: bool = False  #: of this directory


def writers(folder: Folder) -> Writers:
    """Whose schedulers write to a results directory, or have."""
    marks = [_read_mark(folder, name) for name in _marks(folder)]
    living = {mark.uid for mark in marks if mark.lives}
    return Writers(living, {mark.uid for mark in marks if mark.is_mark})


def _marks(folder: Folder) -> list[str]:
    try:
        return [name for name in folder.names() if name.startswith(_PREFIX)]
    except OSError:  # one may write there, but not list it
        return []


def _read_mark(folder: Folder, name: str) -> _Look:
    try:
        fd = os.open(name, os.O_RDONLY | CAREFUL, dir_fd=folder.fd)
    except OSError:
        return _Look()
    try:
        status = os.fstat(fd)
        is_mark = stat.S_ISREG(status.st_mode) and os.pread(fd, 64, 0) == _text(folder)
        lives = is_mark and ofd_lock.is_locked(fd)
        return _Look(status.st_uid, status.st_ino, lives, is_mark)
    except OSError:
        return _Look()
    finally:
        os.close(fd)


def _text(folder: Folder) -> bytes:
    return b"%d\n" % os.fstat(folder.fd).st_ino
