"""Finds out whether a folder's disk has space, and what it lacks: messages for the user."""

from __future__ import annotations

import errno
import os

#: The least that the queue needs: a few pages of its file, and the files that SQLite adds.
_LEAST_BYTES, _LEAST_FILES = 1 << 16, 3

FULL = (errno.ENOSPC, errno.EDQUOT)
_LIMITED = "the size of files is limited here (ulimit -f)"
_TEXTS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: _LIMITED,
    errno.EROFS: "the disk can only be read",
    errno.EMFILE: "too many files are open here (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
}


def is_shortage(error: OSError) -> bool:
    """True if the error may pass once the disk or this program has what it lacks."""
    return error.errno in _TEXTS


def find_full_disk(folder: str) -> str:
    """What the disk lacks by its own numbers; empty if nothing. They don't show a quota."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return ""
    if status.f_bavail * status.f_frsize < _LEAST_BYTES:
        return _TEXTS[errno.ENOSPC]
    if status.f_files and status.f_favail < _LEAST_FILES:
        return "the disk can't hold more files (no inodes are left)"
    return ""


def find_shortage(folder: str) -> str:
    """What is lacking to write in a folder; empty if nothing. It writes a file without a name."""
    return find_full_disk(folder) or _try_writing(folder) or _find_own_limit()


def _try_writing(folder: str) -> str:
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return _TEXTS.get(error.errno or 0, "")
    try:
        os.posix_fallocate(fd, 0, _LEAST_BYTES)
    except OSError as error:
        return _TEXTS.get(error.errno or 0, "")
    finally:
        os.close(fd)
    return ""


def _find_own_limit() -> str:
    import resource

    limit_bytes = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return "" if limit_bytes == resource.RLIM_INFINITY else _LIMITED
