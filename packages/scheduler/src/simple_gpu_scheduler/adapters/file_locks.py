"""Who writes to a file or a directory: a lock that goes with its process, however that ends.

It is flock(2) on what is written itself, so that nothing is left behind. Jobs don't inherit it, as
Python's descriptors close when another program is executed. But whoever may read a file can lock
it: of such a lock one has to ask whose it is. Locks to write are only for those who may write.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from contextlib import suppress

_TRIES, _APART_S = 5, 0.02
_FLOCK = struct.Struct("hhqqi")  # struct flock: type, whence, start, length, pid

#: File systems whose locks all processes see that could have one. Those of a network may keep them
#: to each machine.
_LOCAL = frozenset(
    b"bcachefs btrfs ext2 ext3 ext4 f2fs jfs overlay ramfs reiserfs tmpfs xfs zfs".split()
)


def lock_alone(fd: int) -> bool:
    """Take the lock until the descriptor is closed; False if another process has it.

    True as well where the file system has no locks.
    """
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_APART_S)  # it may be one that only looks, as `is_held` does
        except OSError:
            return True
        else:
            return True
    return False


def is_held(fd: int) -> bool:
    """Whether another open file has the lock; else ours has it then, shared, until it is closed.

    Raises:
        OSError: there are no locks here.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def lock_owners(fd: int) -> set[int]:
    """The users whose processes have the file's lock, as far as they can be seen from here."""
    inode = str(os.fstat(fd).st_ino)
    found: set[int] = set()
    with suppress(OSError), open("/proc/locks") as locks:
        for line in locks:
            kind, _, _, pid, place = [*line.split(), "", "", "", ""][1:6]
            if kind == "FLOCK" and place.rpartition(":")[2] == inode:
                with suppress(OSError):  # it has ended
                    found.add(os.stat(f"/proc/{pid}").st_uid)
    return found


def lock_to_write(fd: int) -> None:
    """Take a lock that only those can take who may open the file for writing.

    It is held until all descriptors of this opening are closed. Where there are no locks, or
    another one has it, nothing happens.
    """
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def is_locked_to_write(fd: int) -> bool:
    """Whether another opening has that lock; False as well where there are no locks."""
    asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
    except OSError:
        return False
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def is_on_this_machine(path: str) -> bool:
    """Whether locks there are seen by all who could have one; the path need not exist."""
    return _file_system(path) in _LOCAL


def _file_system(path: str) -> bytes:
    """The type of the file system that holds the path, by proc_mounts(5); empty if unknown."""
    real = os.fsencode(os.path.realpath(path)) + b"/"
    found = b"", b""
    try:
        with open("/proc/self/mounts", "rb") as mounts:
            for _, point, kind, *_ in (line.split(b" ") for line in mounts):
                place = _unescaped(point).rstrip(b"/") + b"/"
                if real.startswith(place) and len(place) >= len(found[0]):
                    found = place, kind
    except (OSError, ValueError):
        pass
    return found[1]


def _unescaped(point: bytes) -> bytes:
    for octal, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        point = point.replace(octal, byte)
    return point
