"""Makes sure that descriptors 0, 1 and 2 are open, as programs expect."""

from __future__ import annotations

import os

from simple_gpu_scheduler.errors import UsageError


def is_open(fd: int) -> bool:
    """True if the descriptor is open."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def open_missing_outputs() -> list[str]:
    """Open /dev/null in place of a closed stdout or stderr: else a file of ours would get there.

    Call it before anything opens a file.

    Returns:
        The names of those that were closed.

    Raises:
        UsageError: Stdin is closed.
    """
    if not is_open(0):
        raise UsageError("stdin is closed; expected commands on it, one per line")
    closed = [name for fd, name in ((1, "stdout"), (2, "stderr")) if not is_open(fd)]
    for fd in (1, 2):
        if not is_open(fd):
            os.set_inheritable(
                os.open(os.devnull, os.O_WRONLY), True
            )  # gets the lowest free number
    return closed
