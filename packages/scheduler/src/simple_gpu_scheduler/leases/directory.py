"""The directory in which all users of a machine keep their leases."""

from __future__ import annotations

import _thread
import errno
import os
import stat
from collections.abc import Mapping

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.folders import Folder, open_shared
from simple_gpu_scheduler.files.trust import UnsafeError
from simple_gpu_scheduler.leases.errors import OWN_LACK, unreadable
from simple_gpu_scheduler.system.users import user_name

VARIABLE = "SGS_LEASE_DIR"
_SHARED = "/run/lock"
_NAME = "simple-gpu-scheduler"
_OPEN_TO_ALL = 0o1777

#: All threads share one umask. (threading has the same lock, but costs time to import.)
_umask_lock = _thread.allocate_lock()


def lease_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The lease directory. Every user of this machine finds the same one by the same rule.

    It is $SGS_LEASE_DIR if that is set. Otherwise it is /run/lock/simple-gpu-scheduler where that
    exists or anybody may create it (Debian), else /tmp/simple-gpu-scheduler (Fedora, where
    /run/lock belongs to root).

    Raises:
        UsageError: the variable holds a relative path.
    """
    configured = environ.get(VARIABLE)
    if configured and not os.path.isabs(configured):
        raise UsageError(
            f"{VARIABLE}={configured!r}: expected an absolute path, so that it is the same "
            "directory wherever a program is started"
        )
    if configured:
        return os.path.normpath(configured)
    shared = os.path.join(_SHARED, _NAME)
    if os.path.isdir(shared) or _mode(_SHARED) & 0o002:
        return shared
    return os.path.join("/tmp", _NAME)


def open_lease_dir(path: str, *, make: bool = True) -> Folder:
    """Open the directory, and check that leases in it would be safe.

    Args:
        make: create the directory if it is missing.

    Raises:
        SgsError: it can't be created or written, isn't a directory, or others could remove leases.
    """
    try:
        return _usable(path, make=make)
    except UnsafeError as error:
        reason = str(error)
    except OSError as error:
        if error.errno in OWN_LACK:
            raise unreadable(path, error) from None
        reason = _why_not(path, error)
    raise SgsError(
        f"no GPU can be leased: {reason}; expected a directory with mode 1777 that all users of "
        f"this machine share (set {VARIABLE} to use another one)"
    )


def _why_not(path: str, error: OSError) -> str:
    if error.filename != path or error.errno == errno.ENOENT:
        return f"{path} can't be created ({error.strerror})"
    if error.errno == errno.ENOTDIR:
        return f"{path} is not a directory"
    status = os.lstat(path)
    return f"{path} belongs to {user_name(status.st_uid)} and can't be opened ({error.strerror})"


def _usable(path: str, *, make: bool) -> Folder:
    folder = open_shared(path, make=_create_for_all if make else None)
    reason = _unusable(folder)
    if reason:
        folder.close()
        raise UnsafeError(f"{path} {reason}")
    return folder


def _create_for_all(name: str, parent: int) -> None:
    with _umask_lock:
        umask = os.umask(0)  # so that mkdir sets the mode at once: others may open it right away
        try:
            os.mkdir(name, _OPEN_TO_ALL, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.umask(umask)


def _unusable(folder: Folder) -> str:
    """The reason why leases can't be kept there; empty if they can."""
    status, here = os.fstat(folder.fd), f"/proc/self/fd/{folder.fd}"
    if os.fstatvfs(folder.fd).f_flag & os.ST_RDONLY:
        return "is on a read-only file system"
    if not os.access(here, os.R_OK | os.W_OK | os.X_OK):
        return f"belongs to {user_name(status.st_uid)} and can't be written by {user_name()}"
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        return "lacks the sticky bit, so that others could remove leases"
    return ""


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0
