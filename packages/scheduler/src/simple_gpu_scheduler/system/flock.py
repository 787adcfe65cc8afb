"""Who writes to a file or a directory: a lock that goes with its process, however that ends.

It is flock(2) on what is written itself, so that nothing is left behind. Jobs don't inherit it, as
Python's descriptors close when another program is executed. But whoever may read a file can lock
it: of such a lock one has to ask whose it is (`lock_holders`).
"""

from __future__ import annotations

import fcntl
import os
import time

_TRIES, _APART_S = 5, 0.02

#: File systems whose locks all processes see that could have one. Those of a network may keep them
#: to each machine.
_LOCAL = frozenset(
    b"bcachefs btrfs ext2 ext3 ext4 f2fs jfs overlay ramfs reiserfs tmpfs xfs zfs".split()
)


def try_lock(fd: int) -> bool:
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
