"""Writes folders and whole file systems to the disk, so that they outlive a loss of power."""

from __future__ import annotations

import os
from collections.abc import Callable


def sync(folder: str) -> None:
    """Write the names in a folder to the disk.

    Raises:
        OSError: They can't be written.
    """
    _call_on_folder(folder, os.fsync)


def sync_all(folder: str) -> None:
    """Write everything on the folder's file system to the disk (syncfs(2)).

    Raises:
        OSError: It can't be written.
    """
    _call_on_folder(folder, _syncfs)


def _syncfs(fd: int) -> None:
    import ctypes  # needed only to freeze a work tree

    if ctypes.CDLL(None, use_errno=True).syncfs(fd):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _call_on_folder(folder: str, function: Callable[[int], None]) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        function(fd)
    finally:
        os.close(fd)
