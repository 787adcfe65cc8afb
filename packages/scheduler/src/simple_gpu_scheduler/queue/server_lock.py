"""One server for each queue: a lock on a file, in which the server says who it is.

The kernel ends the lock with the server's process. Asking whether there is a server never takes
the lock (`ofd_lock`). So nobody who asks can keep a process from becoming the server.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.system import ofd_lock
from simple_gpu_scheduler.system.proc import is_dying

NAME = "server.lock"

_PATIENCE_S = 10.0
_BYTES = 64
_POLL_S = 0.005


def become_server(folder: str) -> int | None:
    """Take the lock, which lasts until the descriptor is closed; None if there is a server.

    Two others may hold the lock for a moment: a server that was killed, while the kernel ends it,
    and one that has just begun and may fail, as with another environment. We wait for both.

    Raises:
        SgsError: the file system of the folder has no locks.
        OSError: there is no room for the file.
    """
    fd = os.open(os.path.join(folder, NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until_s = time.monotonic() + _PATIENCE_S
    while not _take(fd, folder):
        owner = _read_owner(fd)
        serves = owner is not None and not is_dying(int(owner["pid"]))
        if serves or time.monotonic() > until_s:
            os.close(fd)
            return None
        time.sleep(_POLL_S)
    _write(fd, "")
    return fd


def write_owner(fd: int) -> None:
    """Write to the locked file that this process serves.

    Raises:
        OSError: there is no room.
    """
    _write(fd, json.dumps({"pid": os.getpid(), "since_s": round(time.time(), 3)}))


def _write(fd: int, text: str) -> None:
    """Replace the text by one of the same length: even a full disk has room for that."""
    os.pwrite(fd, text.ljust(_BYTES).encode(), 0)


def written_at_ns(folder: str) -> int:
    """When a server last took the lock or wrote to the file, by the file system's clock.

    Raises:
        OSError: there never was a server.
    """
    return os.stat(os.path.join(folder, NAME)).st_mtime_ns


def server(folder: str) -> dict[str, Any] | None:
    """Return what the server wrote: `pid`, `since_s`. None if there is none, or it just began."""
    return _read(folder)[1]


def is_held(folder: str) -> bool:
    """True if there is a server, even one that hasn't written who it is."""
    return _read(folder)[0]


def is_beginning(folder: str) -> bool:
    """True if there is a server that hasn't written yet who it is."""
    locked, owner = _read(folder)
    return locked and owner is None


def _read(folder: str) -> tuple[bool, dict[str, Any] | None]:
    """Whether the file is locked, and what its owner wrote."""
    try:
        fd = os.open(os.path.join(folder, NAME), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False, None
    try:
        return (True, _read_owner(fd)) if ofd_lock.is_locked(fd) else (False, None)
    except OSError:
        return False, None
    finally:
        os.close(fd)


def _take(fd: int, folder: str) -> bool:
    try:
        return ofd_lock.lock(fd)
    except OSError as error:
        raise SgsError(
            f"the queue can't be served: the file system of {folder} has no locks "
            f"({error.strerror}); name another directory by SGS_STATE_DIR"
        ) from None


def _read_owner(fd: int) -> dict[str, Any] | None:
    try:
        owner: dict[str, Any] = json.loads(os.pread(fd, 4096, 0))
    except ValueError:  # it has just begun
        return None
    return owner
