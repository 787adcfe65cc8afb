"""Prints messages, and writes to and waits for descriptors that may be full, slow or closed.

Messages for users are escaped: by `print_lines` and `print_stderr` here, or by `pipe.console`.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable
from contextlib import suppress

from simple_gpu_scheduler.text.printable import printable


def print_lines(*lines: str) -> None:
    """Print lines on stdout; what could control a terminal is escaped."""
    sys.stdout.write("".join([f"{printable(line)}\n" for line in lines]))


def print_stderr(text: str) -> None:
    """Print a line on stderr, escaped. Python's buffer is not used: its errors are exceptions."""
    if sys.stderr is not None:  # if it was closed, descriptor 2 may be another file
        write_message(f"{printable(text)}\n".encode())


def write_whole(fd: int, data: bytes) -> None:
    """Write all data; wait for the reader even if the descriptor is non-blocking.

    Raises:
        OSError: The data can't be written.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def write_message(text: bytes, fd: int = 2) -> bool:
    """Write a message, or drop it if that isn't possible at once; False if the reader is gone."""
    try:
        while text:
            text = text[os.write(fd, text) :]
    except BrokenPipeError:
        return False
    except OSError:
        pass
    return True


def drain(fd: int) -> bool:
    """Read and drop what a non-blocking descriptor has; True if it had something."""
    had_data = False
    with suppress(BlockingIOError):
        while os.read(fd, 1 << 16):
            had_data = True
    return had_data


def wait_readable(fds: Iterable[int], timeout_s: float | None = None) -> frozenset[int]:
    """Sleep until a descriptor can be read or its other end is closed.

    Args:
        fds: The descriptors.
        timeout_s: The longest time to sleep, in seconds (default: no limit).

    Returns:
        The descriptors that are ready; none if time is up.
    """
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    ready = poll.poll(None if timeout_s is None else timeout_s * 1000)
    return frozenset(fd for fd, _ in ready)
