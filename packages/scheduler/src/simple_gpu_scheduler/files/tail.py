"""Reads the end of a file that may be huge, and may grow meanwhile."""

from __future__ import annotations

import os
from typing import NamedTuple

from simple_gpu_scheduler.files.folders import CAREFUL


class Tail(NamedTuple):
    """The end of a file when it was read."""

    data: bytes = b""
    whole: bool = True  #: `data` is the whole file
    size: int = 0  #: the size of the file, in bytes
    version: tuple[int, ...] = ()  #: differs if the file is another, or has changed


def read_tail(path: str, most_bytes: int, last: Tail | None = None) -> Tail | None:
    """Read the end of a file; None if the file doesn't exist.

    Args:
        path: The path of the file.
        most_bytes: The most bytes to read.
        last: What an earlier call returned; it is returned again if nothing has changed.

    Raises:
        OSError: The file can't be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | CAREFUL)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, most_bytes)
        if last is not None and last.version == version:
            return last
        first = max(0, status.st_size - most_bytes)
        data = os.pread(fd, most_bytes, first)
        return Tail(data, first == 0, status.st_size, version)
    finally:
        os.close(fd)


class TailReader:
    """Reads the ends of files, but only if they have changed."""

    def __init__(self) -> None:
        self._path = ""
        self._last: Tail | None = None

    def read(self, path: str, most_bytes: int) -> Tail | None:
        """Read the end of a file; see `read_tail`."""
        last = self._last if path == self._path else None
        self._path, self._last = path, read_tail(path, most_bytes, last)
        return self._last

    def close(self) -> None:
        """Do nothing: no file is open between two reads."""
