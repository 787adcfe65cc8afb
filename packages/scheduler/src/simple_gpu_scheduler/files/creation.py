"""Folders and files made in what may be somebody else's folder, as our umask says.

The owner of a folder can give it a default list of access rights (acl(5)), which then counts in
the place of the umask of all who make something there, and is handed on to the folders in it. So
in a folder of somebody else all is made closed, and opened afterwards as the umask says; what is
made in a folder of ours there is ours to say again. Where root or we ourselves gave our folder
such a list, that is what we want.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from simple_gpu_scheduler.files.folders import CAREFUL
from simple_gpu_scheduler.files.trust import trusted_users

_ASKED = 0o777
_NONE_THERE = errno.ENODATA, errno.ENOTSUP


def make_folder(dir_fd: int, name: str) -> None:
    """As mkdir(2).

    Raises:
        FileExistsError: there is something of that name.
        OSError: it can't be made.
    """
    if _is_ours(dir_fd):
        os.mkdir(name, _ASKED, dir_fd=dir_fd)
        return
    os.mkdir(name, stat.S_IRWXU, dir_fd=dir_fd)
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # it is another by now
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | CAREFUL, dir_fd=dir_fd)
        try:
            _open_up(fd)
        finally:
            os.close(fd)


def make_file(dir_fd: int, name: str, flags: int, mode: int) -> int:
    """A new file, open.

    Raises:
        FileExistsError: there is something of that name.
        OSError: it can't be made.
    """
    flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    if _is_ours(dir_fd):
        return os.open(name, flags, mode, dir_fd=dir_fd)
    fd = os.open(name, flags, mode & 0o700, dir_fd=dir_fd)
    with suppress(OSError):  # then it stays closed, or has no rights of its own (FAT)
        os.fchmod(fd, mode & ~_umask())
    return fd


def _is_ours(fd: int) -> bool:
    return os.fstat(fd).st_uid in trusted_users()


def _open_up(fd: int) -> None:
    """A folder that we have just made, unless another one of ours was put in its place."""
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or os.listdir(fd):
        return
    try:
        os.removexattr(fd, "system.posix_acl_default")
    except OSError as error:
        if error.errno not in _NONE_THERE:
            raise
    os.fchmod(fd, (status.st_mode & stat.S_ISGID) | (_ASKED & ~_umask()))


def _umask() -> int:
    """Without changing it, which other threads would see."""
    with suppress(OSError, ValueError), open("/proc/self/status") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    return 0o077
