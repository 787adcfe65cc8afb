"""One server for each queue: its lock, and what stands in the locked file about it.

The lock goes with its process, however that ends, and who only asks for it never holds it
(`ofd_lock`), so that nobody is kept from becoming the server by those who look whether there is
one.
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
_LOOK_AGAIN_S = 0.005


def become_server(folder: str) -> int | None:
    """Take the lock until the descriptor is closed; None if there is a server.

    One that was killed may still have it while the kernel ends it, and one that has just begun may
    fail, as with another environment than ours: both are waited for.

    Raises:
        SgsError: there are no locks in the folder.
        OSError: there is no room.
    """
    fd = os.open(os.path.join(folder, NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until_s = time.monotonic() + _PATIENCE_S
    while not _take(fd, folder):
        about = _read_owner(fd)
        serves = about is not None and not is_dying(int(about["pid"]))
        if serves or time.monotonic() > until_s:
            os.close(fd)
            return None
        time.sleep(_LOOK_AGAIN_S)
    _write(fd, "")
    return fd


def write_owner(fd: int) -> None:
    """Have known that we serve.

    Raises:
        OSError: there is no room.
    """
    _write(fd, json.dumps({"pid": os.getpid(), "since_s": round(time.time(), 3)}))


def _write(fd: int, text: str) -> None:
    """In the place of what was there, and as long: a full disk has room for that."""
    os.pwrite(fd, text.ljust(_BYTES).encode(), 0)


def told_at_ns(folder: str) -> int:
    """When a server last took the lock or told of itself, by the clock of files.

    Raises:
        OSError: there never was one.
    """
    return os.stat(os.path.join(folder, NAME)).st_mtime_ns


def server(folder: str) -> dict[str, Any] | None:
    """What the server says of itself; None if there is none, or it has just begun."""
    return _read(folder)[1]


def is_held(folder: str) -> bool:
    """True if there is a server, whether it has told of itself or not."""
    return _read(folder)[0]


def is_beginning(folder: str) -> bool:
    """True if there is a server that hasn't told of itself yet."""
    locked, about = _read(folder)
    return locked and about is None


def _read(folder: str) -> tuple[bool, dict[str, Any] | None]:
    """Whether somebody has the lock, and what he has told."""
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
        about: dict[str, Any] = json.loads(os.pread(fd, 4096, 0))
    except ValueError:  # it has just begun
        return None
    return about
