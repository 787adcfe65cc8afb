"""Locks that only a writer of the file can hold: a user who may only read it can't.

They are write locks of an open file description (fcntl(2), F_OFD_SETLK), which need a file open
for writing. Like locks of flock(2), they end with the last process that has the descriptor,
however that ends. `is_locked` takes no lock.
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = struct.Struct("hhqqi")  # struct flock: type, whence, start, length, pid
_WRITE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_READ = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
_NONE = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)


def lock(fd: int) -> bool:
    """Lock a file that is open for writing; False if another process has it locked.

    A user who may only read the file can prevent the lock by a read lock: then it is False, too.

    Raises:
        OSError: The file system has no such locks.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WRITE)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES
        return False
    return True


def is_locked(fd: int) -> bool:
    """True if a writer has the file locked, through another open file description.

    Raises:
        OSError: The file system has no such locks.
    """
    blocking_lock = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _READ)
    return bool(_FLOCK.unpack(blocking_lock)[0] != fcntl.F_UNLCK)


def unlock(fd: int) -> None:
    """Unlock the file, for all processes that have inherited the descriptor."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _NONE)
