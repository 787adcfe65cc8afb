"""Folders and files that the user names by a path, also where other users can write.

Anybody may own the folders on the way. But a link is followed only if root or we made it, whatever
the kernel's setting (fs.protected_symlinks). The link of another user could lead to a file of
ours, and we would write over it. Only files of our own are written.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.files.creation import make_file, make_folder
from simple_gpu_scheduler.files.folders import CAREFUL, Folder
from simple_gpu_scheduler.files.trust import UnsafeError, only_writer, trusted_users
from simple_gpu_scheduler.files.walk import PATH_ONLY, Walk, is_link, path_parts
from simple_gpu_scheduler.system.users import user_name


class NamedFile(NamedTuple):
    """An open file and its folder."""

    folder: Folder
    name: str  #: in the folder; not that of a link
    fd: int

    def is_there(self) -> bool:
        """True if the name is still that of this file.

        Raises:
            OSError: The name doesn't exist.
        """
        status = os.stat(self.name, dir_fd=self.folder.fd)
        return os.path.samestat(os.fstat(self.fd), status)

    def set_aside(self) -> None:
        """Rename the file to NAME~, in the place of an earlier file of ours.

        Raises:
            UnsafeError: NAME~ belongs to another user.
            OSError: The file can't be renamed.
        """
        new_name = f"{self.name}~"
        status = _find_status(self.folder.fd, new_name)
        if status is not None:
            _require_own(self.folder, new_name, status)
        self.folder.rename(self.name, new_name)

    def close(self) -> None:
        """Close the file and its folder."""
        self.folder.close()
        os.close(self.fd)


def open_named(path: str, *, make: bool = False) -> Folder:
    """Open a folder.

    Args:
        path: The path of the folder.
        make: True makes the folders that don't exist, with the rights of the umask.

    Raises:
        UnsafeError: A link on the way belongs to another user.
        OSError: The folder doesn't exist, or can't be made or opened.
    """
    walk = _NamedWalk(path, make=make)
    folder = Folder(path, walk.end())
    with suppress(PermissionError):  # perhaps it can be written, but not read
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder.fd)
        folder.close()
        folder = Folder(path, fd)
    return folder


def open_own_child(folder: Folder, name: str, uid: int) -> Folder:
    """Open a folder of ours in another folder. Others can write there only if we let them.

    Args:
        folder: The other folder.
        name: The name in it.
        uid: The owner that the file system shows for our folders.

    Raises:
        UnsafeError: The name is that of something else. The message names it.
        OSError: The folder can't be opened.
    """
    path = folder.join(name)
    child = Folder(path, os.open(name, PATH_ONLY, dir_fd=folder.fd))
    status = os.fstat(child.fd)
    if stat.S_ISDIR(status.st_mode) and status.st_uid == uid:
        return child
    child.close()
    raise UnsafeError(f"{path} {_describe(status)}; expected a folder of {user_name()}'s own")


def open_own_file(path: str, flags: int, mode: int = 0o666) -> NamedFile:
    """Open a file of ours; with O_CREAT it is made if need be, with the rights of the umask.

    It may also be a FIFO of ours, a terminal or another device, or an open descriptor
    (/dev/stdout, /dev/fd/N). Opening a FIFO waits for its other end.

    Raises:
        UnsafeError: It belongs to another user.
        OSError: It can't be opened.
    """
    fd, name = _NamedWalk(path).last()
    folder = Folder(os.path.dirname(path) or ".", fd)
    try:
        return NamedFile(folder, name, _open_own(folder, name, flags, mode))
    except OSError as error:
        folder.close()
        raise OSError(error.errno, error.strerror, path) from None
    except BaseException:
        folder.close()
        raise


def open_found(folder: Folder, name: str, flags: int = os.O_RDONLY) -> int:
    """Open a file for reading that anybody may have put into a folder. It never waits.

    Raises:
        OSError: It can't be opened, or is a link of another user.
    """
    try:
        return os.open(name, flags | CAREFUL, dir_fd=folder.fd)
    except OSError:
        target = _find_own_target(folder, name)
        if target is None:
            raise
    return os.open(target, flags | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder.fd)


class _NamedWalk(Walk):
    """A walk along a path that the user has named."""

    def __init__(self, path: str, *, make: bool = False) -> None:
        super().__init__("/", make=make)
        if not path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        names = path_parts(path)
        if path.endswith("/"):
            names.append(".")  # so that it can only be a folder
        self._rest = names[::-1]
        self._shown = "/" if path.startswith("/") else "."
        self._expected = (
            f"a folder, or a link of {user_name()}'s own or root's (if you trust it, name the "
            "folder that it leads to)"
        )

    def last(self) -> tuple[int, str]:
        """Return the folder of the file that the path means, and its name there: not a link."""
        fd = self._go(os.open(self._shown, PATH_ONLY), 1)
        while self._rest and not _is_proc(fd) and is_link(fd, self._rest[-1]):
            name, link_folder = self._rest.pop(), fd
            expected, self._expected = self._expected, f"a file of {user_name()}'s own"
            try:
                fd = self._follow(fd, name, os.path.join(self._shown, name))
            finally:
                os.close(link_folder)
            self._expected = expected
            fd = self._go(fd, 1)
        return fd, self._rest.pop() if self._rest else "."

    def require_safe(self, path: str, fd: int) -> None:
        """Accept any folder: the user has chosen it."""

    def _make_folder(self, fd: int, name: str) -> None:
        with suppress(FileExistsError):
            make_folder(fd, name)


def _open_own(folder: Folder, name: str, flags: int, mode: int) -> int:
    if _is_proc(folder.fd):  # an open descriptor
        return os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=folder.fd)
    status = _find_status(folder.fd, name)
    if status is None and flags & os.O_CREAT:
        with suppress(FileExistsError):
            return make_file(folder.fd, name, flags, mode)
        status = _find_status(folder.fd, name)
    if status is not None:
        _require_own(folder, name, status)
    is_fifo = status is not None and stat.S_ISFIFO(status.st_mode)
    careful = CAREFUL & ~os.O_NONBLOCK if is_fifo else CAREFUL
    fd = os.open(name, flags & ~os.O_CREAT | careful, dir_fd=folder.fd)
    try:
        if status is None or not os.path.samestat(status, os.fstat(fd)):
            _require_own(folder, name, os.fstat(fd))
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_own(folder: Folder, name: str, status: os.stat_result) -> None:
    reason = ""
    is_plain = stat.S_ISREG(status.st_mode)
    if not (is_plain or stat.S_ISFIFO(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        return  # a terminal belongs to the user who logged in, a device to root
    if status.st_uid not in trusted_users() and status.st_uid != _find_own_uid(folder):
        reason = _describe(status)
    elif status.st_nlink > 1 and not _is_private(folder.fd):
        reason = "has a second name (a hard link), and others can write where it is"
    if reason:
        raise UnsafeError(f"{folder.join(name)} {reason}; expected a file of {user_name()}'s own")


def _is_private(fd: int) -> bool:
    return os.fstat(fd).st_uid in trusted_users() and only_writer(fd)


def _describe(status: os.stat_result) -> str:
    """What is wrong with a file or folder that isn't ours, or not of the right kind."""
    owner = user_name(status.st_uid)
    if stat.S_ISLNK(status.st_mode):
        return f"is a link that {owner} made"
    if stat.S_ISFIFO(status.st_mode):
        return f"is a FIFO that {owner} made"
    if status.st_uid == os.geteuid():
        return "is no folder"
    return f"belongs to {owner}"


def _find_own_uid(folder: Folder) -> int | None:
    """The owner that the file system shows for our new files: a network one may show another."""
    name = f".{os.urandom(8).hex()}"
    try:
        fd = folder.create(name)
    except OSError:
        return None
    try:
        return os.fstat(fd).st_uid
    finally:
        os.close(fd)
        with suppress(OSError):
            folder.remove(name)


def _find_own_target(folder: Folder, name: str) -> str | None:
    """The target of a link that root or we made; None if it is something else."""
    try:
        fd = os.open(name, PATH_ONLY, dir_fd=folder.fd)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        is_ours = status.st_uid in trusted_users() and status.st_nlink == 1
        return os.readlink("", dir_fd=fd) if is_ours and stat.S_ISLNK(status.st_mode) else None
    finally:
        os.close(fd)


def _find_status(fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_proc(fd: int) -> bool:
    """True if a folder is one of /proc, whose links only the kernel can follow."""
    with suppress(OSError):
        return os.fstat(fd).st_dev == os.stat("/proc").st_dev
    return False
