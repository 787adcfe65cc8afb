"""Makes folders and files with the rights of our umask, also in folders of other users.

The owner of a folder can give it a default list of access rights (acl(5)). It replaces the umask
of everybody who makes something there, and new folders inherit it. So in a folder of another user,
everything is made closed first, and then gets the rights that the umask allows. In a folder of
ours or root's, such a list is what we want.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from simple_gpu_scheduler.files.folders import CAREFUL
from simple_gpu_scheduler.files.trust import trusted_users

_REQUESTED_MODE = 0o777
_NO_ACL = errno.ENODATA, errno.ENOTSUP


def make_folder(dir_fd: int, name: str) -> None:
    """Make a folder, as mkdir(2).

    Raises:
        FileExistsError: The name exists.
        OSError: The folder can't be made.
    """
    if _is_trusted(dir_fd):
        os.mkdir(name, _REQUESTED_MODE, dir_fd=dir_fd)
        return
    os.mkdir(name, stat.S_IRWXU, dir_fd=dir_fd)
    with suppress(
        FileNotFoundError, NotADirectoryError, PermissionError
    ):  # it was replaced meanwhile
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | CAREFUL, dir_fd=dir_fd)
        try:
            _set_rights(fd)
        finally:
            os.close(fd)


def make_file(dir_fd: int, name: str, flags: int, mode: int) -> int:
    """Make a file and open it; return its descriptor.

    Raises:
        FileExistsError: The name exists.
        OSError: The file can't be made.
    """
    flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    if _is_trusted(dir_fd):
        return os.open(name, flags, mode, dir_fd=dir_fd)
    fd = os.open(name, flags, mode & 0o700, dir_fd=dir_fd)
    with suppress(OSError):  # it stays closed, or the file system has no rights (FAT)
        os.fchmod(fd, mode & ~_umask())
    return fd


def _is_trusted(fd: int) -> bool:
    return os.fstat(fd).st_uid in trusted_users()


def _set_rights(fd: int) -> None:
    """Give a new folder the rights of the umask, unless another folder was put in its place."""
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or os.listdir(fd):
        return
    try:
        os.removexattr(fd, "system.posix_acl_default")
    except OSError as error:
        if error.errno not in _NO_ACL:
            raise
    os.fchmod(fd, (status.st_mode & stat.S_ISGID) | (_REQUESTED_MODE & ~_umask()))


def _umask() -> int:
    """Read the umask; umask(2) would change it, also for other threads."""
    with suppress(OSError, ValueError), open("/proc/self/status") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    return 0o077
