"""A lock on the scripts, snapshots and copies beside the queue's file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from simple_gpu_scheduler.errors import PassingError, SgsError
from simple_gpu_scheduler.files.disk_space import is_shortage

_LOCK = "frozen.lock"


@contextmanager
def in_use(folder: str, *, alone: bool = False) -> Iterator[None]:
    """Hold the lock: nobody cleans up meanwhile.

    Args:
        folder: the queue's.
        alone: nobody else holds it meanwhile, so that the caller can clean up.

    Raises:
        PassingError: there is no room for the lock's file.
        SgsError: the lock's file can't be opened.
    """
    path = os.path.join(folder, _LOCK)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        kind = PassingError if is_shortage(error) else SgsError
        raise kind(f"{path} can't be opened: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)
