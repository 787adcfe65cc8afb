"""A file gets its name in the lease directory only when it is locked and complete."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress

from simple_gpu_scheduler.files.folders import Folder
from simple_gpu_scheduler.system import ofd_lock
from simple_gpu_scheduler.system.fds import write_whole
from simple_gpu_scheduler.system.flock import is_held

NEW = ".new"
#: Leases have this number or above: there no redirection of a script is in their way, and however
#: many there are (ulimit -n), what else a scheduler needs finds a number below.
_LEAST_FD = min(100, os.sysconf("SC_OPEN_MAX") // 2)
#: For everybody to read, whatever our umask; and sticky, which keeps those who clean up /tmp from
#: removing what is old but still held (systemd-tmpfiles, by the XDG base directory specification).
_MODE = 0o1644

#: Folders in which a lock was seen to mean something, by device and inode.
_with_locks: set[tuple[int, int]] = set()


def add_file(folder: Folder, name: str, content: bytes) -> int:
    """Add a file that lives as long as its descriptor is open somewhere; returns that.

    Others can't open it until it is locked and complete, and nobody can guess its name from the
    one before, and put something there.

    Raises:
        OSError: it can't be written or locked; nothing is left of it.
    """
    hidden = os.urandom(8).hex() + NEW
    fd = folder.create(hidden, flags=os.O_RDWR)
    try:
        fd = _high(fd)
        _fill(folder, fd, content)
        folder.rename(hidden, name)
    except BaseException:
        with suppress(OSError):
            os.close(fd)
        with suppress(OSError):
            folder.remove(hidden)
        raise
    return fd


def _fill(folder: Folder, fd: int, content: bytes) -> None:
    """Lock it and write it. Versions before this one see it by the lock of flock(2)."""
    if not ofd_lock.lock(fd):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    write_whole(fd, content)
    _check_locks(folder, fd)
    os.fchmod(fd, _MODE)


def _high(fd: int) -> int:
    high_fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD)
    os.close(fd)
    return high_fd


def identity(status: os.stat_result) -> tuple[int, int]:
    """By what a folder is told from another one: device and inode."""
    return status.st_dev, status.st_ino


def _check_locks(folder: Folder, fd: int) -> None:
    """See that locks mean something here: on some file systems they are granted to everybody."""
    where = identity(os.fstat(folder.fd))
    if where in _with_locks:
        return
    other = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not (ofd_lock.is_locked(other) and is_held(other)):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    finally:
        os.close(other)
    _with_locks.add(where)
