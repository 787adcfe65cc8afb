"""What was written outlives a loss of power: directories and whole file systems."""

from __future__ import annotations

import os
from collections.abc import Callable


def sync(folder: str) -> None:
    """See that the names in a folder are on the disk.

    Raises:
        OSError: they aren't.
    """
    _with(folder, os.fsync)


def sync_all(folder: str) -> None:
    """See that everything on the folder's file system is on the disk (syncfs(2)).

    Raises:
        OSError: it isn't.
    """
    _with(folder, _syncfs)


def _syncfs(fd: int) -> None:
    import ctypes  # who doesn't freeze a work tree has no need of it

    if ctypes.CDLL(None, use_errno=True).syncfs(fd):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _with(folder: str, how: Callable[[int], None]) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how(fd)
    finally:
        os.close(fd)
