"""What is printed, and descriptors: write all of it, to one that may be full, slow or gone.

All that we say ourselves goes through `print_lines` and `print_stderr`, or `console` escapes it.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress

from simple_gpu_scheduler.text.printable import printable


def print_lines(*lines: str) -> None:
    """Print lines on stdout; what could steer a terminal is escaped."""
    sys.stdout.write("".join([f"{printable(line)}\n" for line in lines]))


def print_stderr(text: str) -> None:
    """Say a line on stderr, likewise, past its buffer: an error in that would end us.

    A stderr that is closed may be another file's descriptor by now.
    """
    if sys.stderr is not None:
        write_message(f"{printable(text)}\n".encode())


def write_whole(fd: int, data: bytes) -> None:
    """Write everything, waiting for the reader where the descriptor doesn't block.

    Raises:
        OSError: it can't be written.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def write_message(text: bytes, fd: int = 2) -> bool:
    """Write a message, or leave it where the reader is gone or asleep; False if he is gone."""
    try:
        while text:
            text = text[os.write(fd, text) :]
    except BrokenPipeError:
        return False
    except OSError:
        pass
    return True


def drain(fd: int) -> bool:
    """Read away what is there, from a descriptor that doesn't block; True if that was anything."""
    found = False
    with suppress(BlockingIOError):
        while os.read(fd, 1 << 16):
            found = True
    return found
