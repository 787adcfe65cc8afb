"""Wakes a program when a file changes: inotify(7), which Python's library doesn't have.

It tells when a lease ends: the kernel closes the last descriptor of the lease with its last
process, and that is an event, as is the removal of the file. Reading a lease is none, because
readers don't open the file for writing. So programs that wait don't wake each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_IN_MODIFY, _IN_CLOSE_WRITE, _IN_DELETE, _IN_ONLYDIR = 0x2, 0x8, 0x200, 0x01000000


def watch_ends(folders: Iterable[str]) -> int:
    """Return a descriptor that is readable once a file open for writing is closed or removed.

    Raises:
        OSError: The kernel has no more of them (fs.inotify.max_user_instances).
    """
    return _watch(folders, _IN_CLOSE_WRITE | _IN_DELETE | _IN_ONLYDIR)


def watch_writes(folders: Iterable[str]) -> int:
    """Return a descriptor that is readable once a file is written, or closed by its writer.

    Raises:
        OSError: See `watch_ends`.
    """
    return _watch(folders, _IN_MODIFY | _IN_CLOSE_WRITE | _IN_ONLYDIR)


def _watch(folders: Iterable[str], mask: int) -> int:
    import ctypes  # imported here, as that takes 3 ms and few programs wait

    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise _error(ctypes.get_errno())
    for folder in folders:
        if libc.inotify_add_watch(fd, os.fsencode(folder), mask) < 0:
            error = _error(ctypes.get_errno())
            os.close(fd)
            raise error
    return fd


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
