"""Locks that only a file's owner can hold: whoever may only read it can't, nor keep it alive.

They are write locks of an open file description (fcntl(2), F_OFD_SETLK), for which the file must
be open for writing. Like those of flock(2) they go with the last process that has the descriptor,
however that ends. Who only asks never holds them.
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
    """Take it, on a file that is open for writing; False if somebody has it.

    Somebody who may only read can have a read lock there: then it can't be taken, either.

    Raises:
        OSError: there are no locks here.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WRITE)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES
        return False
    return True


def is_locked(fd: int) -> bool:
    """Whether somebody who may write has it, by another description than this one.

    Raises:
        OSError: there are no locks here.
    """
    asked = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _READ)
    return bool(_FLOCK.unpack(asked)[0] != fcntl.F_UNLCK)


def unlock(fd: int) -> None:
    """Let it go, for all who have inherited the descriptor."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _NONE)
