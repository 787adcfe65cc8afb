"""Add files to the lease directory. A file gets its name only when it is locked and complete."""

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
#: Leases get descriptors from this number on. Redirections of a script use lower ones. However
#: many leases there are (ulimit -n), lower numbers stay free for what else a scheduler opens.
_LEAST_FD = min(100, os.sysconf("SC_OPEN_MAX") // 2)
#: Everybody may read it, whatever our umask. The sticky bit keeps programs that clean up /tmp from
#: removing an old file that is still held (systemd-tmpfiles, by the XDG base directory
#: specification).
_MODE = 0o1644

#: Folders in which locks were seen to work, by device and inode.
_with_locks: set[tuple[int, int]] = set()


def add_file(folder: Folder, name: str, content: bytes) -> int:
    """Add a file that lives as long as its descriptor is open anywhere; return the descriptor.

    Others can't open it until it is locked and complete. Until then it has a hidden name that
    nobody can guess, so nobody can put another file there.

    Raises:
        OSError: it can't be written or locked; it is removed again.
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
    """Lock the file and write it. Earlier versions see it by the lock of flock(2)."""
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
    """The device and inode, which identify a folder."""
    return status.st_dev, status.st_ino


def _check_locks(folder: Folder, fd: int) -> None:
    """Check that locks work here: some file systems grant a lock to everybody.

    Raises:
        OSError: they don't.
    """
    place = identity(os.fstat(folder.fd))
    if place in _with_locks:
        return
    second_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not (ofd_lock.is_locked(second_fd) and is_held(second_fd)):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    finally:
        os.close(second_fd)
    _with_locks.add(place)
