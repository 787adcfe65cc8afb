"""The end of a file that may be huge, and may grow while we read."""

from __future__ import annotations

import os
from typing import NamedTuple

from simple_gpu_scheduler.files.folders import CAREFUL


class Tail(NamedTuple):
    """What was at the end of a file when we looked."""

    data: bytes = b""
    whole: bool = True  #: there is nothing before it
    size: int = 0  #: of the file, in bytes
    seen: tuple[int, ...] = ()  #: tells the file, and its state, from others


def read_tail(path: str, most_bytes: int, last: Tail | None = None) -> Tail | None:
    """The last so many bytes; None if there is no such file.

    Args:
        last: what an earlier call returned; it is returned again if nothing has changed.

    Raises:
        OSError: it can't be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | CAREFUL)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, most_bytes)
        if last is not None and last.seen == seen:
            return last
        first = max(0, status.st_size - most_bytes)
        data = os.pread(fd, most_bytes, first)
        return Tail(data, first == 0, status.st_size, seen)
    finally:
        os.close(fd)


class TailReader:
    """Reads the ends of files, and what has changed only."""

    def __init__(self) -> None:
        self._path = ""
        self._last: Tail | None = None

    def read(self, path: str, most_bytes: int) -> Tail | None:
        """See `read_tail`."""
        last = self._last if path == self._path else None
        self._path, self._last = path, read_tail(path, most_bytes, last)
        return self._last

    def close(self) -> None:
        """Nothing is open between two reads."""
