"""What is wrong with the lease directory, for its user."""

from __future__ import annotations

import errno
import os
from collections import Counter
from contextlib import suppress

from simple_gpu_scheduler.errors import CrowdedError, PassingError, SgsError
from simple_gpu_scheduler.files.folders import Folder
from simple_gpu_scheduler.system.users import user_name

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

#: Our own lack, which says nothing about a file. All else does: a file that isn't to be opened at
#: once (somebody has a lease of fcntl(2) on it, say) was never one of ours.
OWN_LACK = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def unusable(folder: Folder, error: OSError) -> SgsError:
    """What is wrong with the directory, for who wants to write there."""
    if error.errno in _NO_LOCKS:
        return SgsError(
            f"no GPU can be leased: {folder.path}: its file system has no working locks (flock); "
            "name a local directory by SGS_LEASE_DIR"
        )
    kind = PassingError if error.errno in _FULL else _kind(error)
    crowd = _crowd(folder) if error.errno in _FULL else ""
    return kind(f"no GPU can be leased: {folder.path} can't be written ({error.strerror}{crowd})")


def unreadable(path: str, error: OSError) -> SgsError:
    """What is wrong with the directory or a file in it, for who wants to look."""
    return _kind(error)(f"no GPU can be leased: {path} can't be read ({error.strerror})")


def _kind(error: OSError) -> type[SgsError]:
    if error.errno == errno.EMFILE:
        return CrowdedError
    return PassingError if error.errno in OWN_LACK else SgsError


def _crowd(folder: Folder) -> str:
    """Who has the most files there."""
    owners: Counter[int] = Counter()
    with suppress(OSError):
        for name in folder.names():
            with suppress(OSError):
                owners[os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_uid] += 1
    if not owners:
        return ""
    uid, number = owners.most_common(1)[0]
    return f"; {user_name(uid)} has {number} files there"
