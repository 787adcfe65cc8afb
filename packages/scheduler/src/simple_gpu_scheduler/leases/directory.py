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


def open_lease_dir(path: str, *, make: bool = True) -> Folder:
    """Open the directory, made if need be, and see that leases in it would mean something.

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
        f"this machine share (name another one by {VARIABLE})"
    )


def _why_not(path: str, error: OSError) -> str:
    if error.filename != path or error.errno == errno.ENOENT:
        return f"{path} can't be created ({error.strerror})"
    if error.errno == errno.ENOTDIR:
        return f"{path} is no directory"
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
        umask = os.umask(0)  # in one step: nobody must meet one that is not yet open to all
        try:
            os.mkdir(name, _OPEN_TO_ALL, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.umask(umask)


def _unusable(folder: Folder) -> str:
    """Why leases can't be kept there; empty if they can."""
    status, here = os.fstat(folder.fd), f"/proc/self/fd/{folder.fd}"
    if os.fstatvfs(folder.fd).f_flag & os.ST_RDONLY:
        return "is on a file system that can only be read"
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
