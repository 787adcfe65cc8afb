"""Errors of the lease directory, worded for the user."""

from __future__ import annotations

import errno
import os
from collections import Counter
from contextlib import suppress

from simple_gpu_scheduler.errors import CrowdedError, PassingError, SgsError
from simple_gpu_scheduler.files.folders import Folder
from simple_gpu_scheduler.system.users import user_name

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

#: Errors that mean that this process or machine has run out of something. They say nothing about
#: a file. Any other error does: a file that can't be opened at once (somebody has a lease of
#: fcntl(2) on it, say) is not one of ours.
OWN_LACK = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def unusable(folder: Folder, error: OSError) -> SgsError:
    """The error for a directory that can't be written."""
    if error.errno in _NO_LOCKS:
        return SgsError(
            f"no GPU can be leased: {folder.path}: its file system has no working locks (flock); "
            "set SGS_LEASE_DIR to a local directory"
        )
    kind = PassingError if error.errno in _FULL else _kind(error)
    crowd = _crowd(folder) if error.errno in _FULL else ""
    return kind(f"no GPU can be leased: {folder.path} can't be written ({error.strerror}{crowd})")


def unreadable(path: str, error: OSError) -> SgsError:
    """The error for a directory, or a file in it, that can't be read."""
    return _kind(error)(f"no GPU can be leased: {path} can't be read ({error.strerror})")


def _kind(error: OSError) -> type[SgsError]:
    if error.errno == errno.EMFILE:
        return CrowdedError
    return PassingError if error.errno in OWN_LACK else SgsError


def _crowd(folder: Folder) -> str:
    """The user with the most files there, in words; empty if that is unknown."""
    owners: Counter[int] = Counter()
    with suppress(OSError):
        for name in folder.names():
            with suppress(OSError):
                owners[os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_uid] += 1
    if not owners:
        return ""
    uid, count = owners.most_common(1)[0]
    return f"; {user_name(uid)} has {count} files there"
