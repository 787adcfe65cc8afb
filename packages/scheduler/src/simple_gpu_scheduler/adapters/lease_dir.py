"""The directory in which all users of a machine keep their leases."""

from __future__ import annotations

import _thread
import os
import stat
from collections.abc import Mapping

from simple_gpu_scheduler.adapters.users import user_name
from simple_gpu_scheduler.errors import SgsError, UsageError

VARIABLE = "SGS_LEASE_DIR"
_SHARED = "/run/lock"
_NAME = "simple-gpu-scheduler"
_OPEN_TO_ALL = 0o1777

#: The umask is the whole process's. (threading has the same lock, but costs time to import.)
_umask_lock = _thread.allocate_lock()


def lease_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The directory that every user of this machine comes to by the same rule.

    $SGS_LEASE_DIR, else /run/lock/simple-gpu-scheduler where that exists or anybody may create it
    (Debian), else /tmp/simple-gpu-scheduler (Fedora: /run/lock belongs to root).

    Raises:
        UsageError: the variable names a directory that depends on where a program is started.
    """
    chosen = environ.get(VARIABLE)
    if chosen and not os.path.isabs(chosen):
        raise UsageError(
            f"{VARIABLE}={chosen!r}: expected a path from the root, so that it is the same "
            "directory wherever a program is started"
        )
    if chosen:
        return os.path.normpath(chosen)
    shared = os.path.join(_SHARED, _NAME)
    if os.path.isdir(shared) or _mode(_SHARED) & 0o002:
        return shared
    return os.path.join("/tmp", _NAME)


def open_lease_dir(path: str) -> None:
    """Create the directory if need be, and see that leases in it would mean something.

    Raises:
        SgsError: it can't be created or written, isn't a directory, or others could remove leases.
    """
    _create(path)
    reason = _unusable(path)
    if reason:
        raise SgsError(
            f"no GPU can be leased: {path} {reason}; expected a directory with mode 1777 that "
            f"all users of this machine share (name another one by {VARIABLE})"
        )


def _create(path: str) -> None:
    if os.path.isdir(path):
        return
    with _umask_lock:
        _create_for_all(path)


def _create_for_all(path: str) -> None:
    umask = os.umask(0)  # in one step: nobody must meet a directory that is not yet open to all
    try:
        os.mkdir(path, _OPEN_TO_ALL)
    except FileExistsError:
        pass
    except OSError as error:
        raise SgsError(
            f"no GPU can be leased: {path} can't be created ({error.strerror}); create it with "
            f"mode 1777, or name another directory by {VARIABLE}"
        ) from None
    finally:
        os.umask(umask)


def _unusable(path: str) -> str:
    """Why leases can't be kept there; empty if they can."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link, which others may not follow"
    if not stat.S_ISDIR(status.st_mode):
        return "is no directory"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "is on a file system that can only be read"
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return f"belongs to {user_name(status.st_uid)} and can't be written by {user_name()}"
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        return "lacks the sticky bit, so that others could remove leases"
    return ""


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0
