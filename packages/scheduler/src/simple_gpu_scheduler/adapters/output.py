"""Write all of it, to a descriptor that may be full, slow or gone."""

from __future__ import annotations

import os
import select


def write_whole(fd: int, data: bytes) -> None:
    """Write everything, waiting for the reader where the descriptor doesn't block.

    Raises:
        OSError: it can't be written.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            select.select([], [fd], [])


def say(text: bytes, fd: int = 2) -> None:
    """Write a message, or leave it: a reader that is gone or asleep is no reason to stop."""
    try:
        while text:
            text = text[os.write(fd, text) :]
    except OSError:
        return
