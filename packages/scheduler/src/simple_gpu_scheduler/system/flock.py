"""Locks of flock(2) on files and directories: they end with their process, however that ends.

The file that is written is locked itself, so that no lock file is left behind. Jobs don't inherit
the lock, because Python closes its descriptors in a new program. But whoever may read a file can
lock it: `lock_holders` finds out who that is.
"""

from __future__ import annotations

import fcntl
import os
import time

_TRIES, _PAUSE_S = 5, 0.02

#: File systems whose locks count for all processes that can open a file. On a network file system
#: they may count only on one machine.
_LOCAL = frozenset(
    b"bcachefs btrfs ext2 ext3 ext4 f2fs jfs overlay ramfs reiserfs tmpfs xfs zfs".split()
)


def try_lock(fd: int) -> bool:
    """Lock the file until the descriptor is closed; False if another process has the lock.

    True also if the file system has no locks.
    """
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)  # it may be held only for a moment, by `is_held`
        except OSError:
            return True
        else:
            return True
    return False


def is_held(fd: int) -> bool:
    """True if another open file has the lock; else this one gets a shared lock until it is closed.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def is_on_this_machine(path: str) -> bool:
    """True if locks at this path count for all processes; the path need not exist."""
    return _file_system(path) in _LOCAL


def _file_system(path: str) -> bytes:
    """The type of the file system of a path, by proc_mounts(5); empty if unknown."""
    real_path = os.fsencode(os.path.realpath(path)) + b"/"
    mount_point = file_system = b""
    try:
        with open("/proc/self/mounts", "rb") as mounts:
            for _, escaped, kind, *_ in (line.split(b" ") for line in mounts):
                point = _unescape(escaped).rstrip(b"/") + b"/"
                if real_path.startswith(point) and len(point) >= len(mount_point):
                    mount_point, file_system = point, kind
    except (OSError, ValueError):
        pass
    return file_system


def _unescape(point: bytes) -> bytes:
    for octal, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        point = point.replace(octal, byte)
    return point
