"""Whether a folder's disk has room, and if not, what it lacks, in words for a user."""

from __future__ import annotations

import errno
import os

#: A few pages of the queue's file, and as many files as its helpers are.
_LEAST_BYTES, _LEAST_FILES = 1 << 16, 3

FULL = (errno.ENOSPC, errno.EDQUOT)
_LIMITED = "the size of files is limited here (ulimit -f)"
_IN_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: _LIMITED,
    errno.EROFS: "the disk can only be read",
    errno.EMFILE: "too many files are open here (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
}


def is_lack(error: OSError) -> bool:
    """Whether it may pass once there is room."""
    return error.errno in _IN_WORDS


def shown_lack(folder: str) -> str:
    """What the disk itself says that it lacks; empty if nothing. A quota isn't seen."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return ""
    if status.f_bavail * status.f_frsize < _LEAST_BYTES:
        return _IN_WORDS[errno.ENOSPC]
    if status.f_files and status.f_favail < _LEAST_FILES:
        return "the disk can't hold more files (no inodes are left)"
    return ""


def lack(folder: str) -> str:
    """What keeps us from writing there; empty if nothing does. A file without a name is tried."""
    return shown_lack(folder) or _tried(folder) or _own_limit()


def _tried(folder: str) -> str:
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return _IN_WORDS.get(error.errno or 0, "")
    try:
        os.posix_fallocate(fd, 0, _LEAST_BYTES)
    except OSError as error:
        return _IN_WORDS.get(error.errno or 0, "")
    finally:
        os.close(fd)
    return ""


def _own_limit() -> str:
    import resource

    limit_bytes = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return "" if limit_bytes == resource.RLIM_INFINITY else _LIMITED
