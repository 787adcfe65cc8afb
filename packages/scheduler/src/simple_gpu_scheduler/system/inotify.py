"""Wake up when a lease ends: inotify(7), which Python's standard library doesn't have.

The kernel closes the last descriptor of a lease when its last process is gone; that is an event,
as is the removal of its file. Readers open lease files for reading only, so that looking at
leases is no event: those who wait don't wake each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_IN_MODIFY, _IN_CLOSE_WRITE, _IN_DELETE, _IN_ONLYDIR = 0x2, 0x8, 0x200, 0x01000000


def watch_ends(folders: Iterable[str]) -> int:
    """A descriptor that becomes readable when a file open for writing is closed or removed.

    Raises:
        OSError: the kernel has no more of them (fs.inotify.max_user_instances).
    """
    return _watch(folders, _IN_CLOSE_WRITE | _IN_DELETE | _IN_ONLYDIR)


def watch_writes(folders: Iterable[str]) -> int:
    """A descriptor that becomes readable when a file is written to, or its writer has closed it.

    Raises:
        OSError: as `watch_ends`.
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
