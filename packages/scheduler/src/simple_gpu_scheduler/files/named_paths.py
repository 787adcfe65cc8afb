"""Folders and files that the user names by a path, also where others can write.

The folders on the way may be anybody's, but a link counts only if root or we made it, anywhere in
the path and whatever the kernel is set to (fs.protected_symlinks): a link of somebody else could
lead to what is ours, to have it written over. What is written is a file of our own.
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
from simple_gpu_scheduler.files.walk import STEP, Walk, is_link, parts
from simple_gpu_scheduler.system.users import user_name


class NamedFile(NamedTuple):
    """An open file, and where it is: its name is that of no link."""

    folder: Folder
    name: str
    fd: int

    def is_there(self) -> bool:
        """Whether the name is still this file's.

        Raises:
            OSError: nothing has that name.
        """
        there = os.stat(self.name, dir_fd=self.folder.fd)
        return os.path.samestat(os.fstat(self.fd), there)

    def set_aside(self) -> None:
        """Rename it NAME~, in the place of an earlier file of ours.

        Raises:
            UnsafeError: there is something of somebody else.
            OSError: it can't be renamed.
        """
        aside = f"{self.name}~"
        there = _status(self.folder.fd, aside)
        if there is not None:
            _require_own(self.folder, aside, there)
        self.folder.rename(self.name, aside)

    def close(self) -> None:
        """Let both go."""
        self.folder.close()
        os.close(self.fd)


def open_named(path: str, *, make: bool = False) -> Folder:
    """Open a folder; with `make` those that aren't there are made, as the umask says.

    Raises:
        UnsafeError: a link on the way is somebody else's.
        OSError: it isn't there, or can't be made or opened.
    """
    walk = _NamedWalk(path, make=make)
    folder = Folder(path, walk.end())
    with suppress(PermissionError):  # it may be one that can be written, but not listed
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder.fd)
        folder.close()
        folder = Folder(path, fd)
    return folder


def open_own_child(folder: Folder, name: str, uid: int) -> Folder:
    """Open a folder in another one. Others may write there only if we let them.

    Args:
        uid: as whose our folders are shown there.

    Raises:
        UnsafeError: there is something else. The message names it.
        OSError: it can't be opened.
    """
    path = folder.join(name)
    child = Folder(path, os.open(name, STEP, dir_fd=folder.fd))
    status = os.fstat(child.fd)
    if stat.S_ISDIR(status.st_mode) and status.st_uid == uid:
        return child
    child.close()
    raise UnsafeError(f"{path} {_what(status)}; expected a folder of {user_name()}'s own")


def open_own_file(path: str, flags: int, mode: int = 0o666) -> NamedFile:
    """Open a file of ours; with O_CREAT it is made if need be, as the umask says.

    It may as well be a FIFO of ours, which waits for its other end, a terminal or another device,
    or a descriptor that we have (/dev/stdout, /dev/fd/N).

    Raises:
        UnsafeError: it is somebody else's.
        OSError: it can't be opened.
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
    """Open for reading what anybody may have put into a folder. Nothing is waited for.

    Raises:
        OSError: it can't be opened, or is a link of somebody else's.
    """
    try:
        return os.open(name, flags | CAREFUL, dir_fd=folder.fd)
    except OSError:
        target = _own_target(folder, name)
        if target is None:
            raise
    return os.open(target, flags | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder.fd)


class _NamedWalk(Walk):
    """The way along a path that the user has named."""

    def __init__(self, path: str, *, make: bool = False) -> None:
        super().__init__("/", make=make)
        if not path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        names = parts(path)
        if path.endswith("/"):
            names.append(".")  # so that it can only be a folder
        self._rest = names[::-1]
        self._shown = "/" if path.startswith("/") else "."
        self._expected = (
            f"a folder, or a link of {user_name()}'s own or root's (if you trust it, name the "
            "folder that it leads to)"
        )

    def last(self) -> tuple[int, str]:
        """The folder of what the path means, and its name there, which is no link's."""
        fd = self._go(os.open(self._shown, STEP), 1)
        while self._rest and not _is_proc(fd) and is_link(fd, self._rest[-1]):
            name, before = self._rest.pop(), fd
            expected, self._expected = self._expected, f"a file of {user_name()}'s own"
            try:
                fd = self._follow(fd, name, os.path.join(self._shown, name))
            finally:
                os.close(before)
            self._expected = expected
            fd = self._go(fd, 1)
        return fd, self._rest.pop() if self._rest else "."

    def require_firm(self, path: str, fd: int) -> None:
        """Folders of others are what the user has chosen."""

    def _make_folder(self, fd: int, name: str) -> None:
        with suppress(FileExistsError):
            make_folder(fd, name)


def _open_own(folder: Folder, name: str, flags: int, mode: int) -> int:
    if _is_proc(folder.fd):  # a descriptor that we have
        return os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=folder.fd)
    there = _status(folder.fd, name)
    if there is None and flags & os.O_CREAT:
        with suppress(FileExistsError):
            return make_file(folder.fd, name, flags, mode)
        there = _status(folder.fd, name)
    if there is not None:
        _require_own(folder, name, there)
    waits = there is not None and stat.S_ISFIFO(there.st_mode)
    careful = CAREFUL & ~os.O_NONBLOCK if waits else CAREFUL
    fd = os.open(name, flags & ~os.O_CREAT | careful, dir_fd=folder.fd)
    try:
        if there is None or not os.path.samestat(there, os.fstat(fd)):
            _require_own(folder, name, os.fstat(fd))
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_own(folder: Folder, name: str, status: os.stat_result) -> None:
    why = ""
    plain = stat.S_ISREG(status.st_mode)
    if not (plain or stat.S_ISFIFO(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        return  # terminals belong to whoever has logged in; devices are made by root
    if status.st_uid not in trusted_users() and status.st_uid != _own_uid(folder):
        why = _what(status)
    elif status.st_nlink > 1 and not _is_ours_alone(folder.fd):
        why = "has a second name (a hard link), and others can write where it is"
    if why:
        raise UnsafeError(f"{folder.join(name)} {why}; expected a file of {user_name()}'s own")


def _is_ours_alone(fd: int) -> bool:
    return os.fstat(fd).st_uid in trusted_users() and only_writer(fd)


def _what(status: os.stat_result) -> str:
    """What is wrong with something that isn't ours, or not what it should be."""
    whose = user_name(status.st_uid)
    if stat.S_ISLNK(status.st_mode):
        return f"is a link that {whose} made"
    if stat.S_ISFIFO(status.st_mode):
        return f"is a FIFO that {whose} made"
    if status.st_uid == os.geteuid():
        return "is no folder"
    return f"belongs to {whose}"


def _own_uid(folder: Folder) -> int | None:
    """As whose our new files are shown there: some file systems of a network name another."""
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


def _own_target(folder: Folder, name: str) -> str | None:
    """What a link says that root or we made."""
    try:
        fd = os.open(name, STEP, dir_fd=folder.fd)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        ours = status.st_uid in trusted_users() and status.st_nlink == 1
        return os.readlink("", dir_fd=fd) if ours and stat.S_ISLNK(status.st_mode) else None
    finally:
        os.close(fd)


def _status(fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_proc(fd: int) -> bool:
    """Whether a folder is one of /proc, whose links the kernel alone can follow."""
    with suppress(OSError):
        return os.fstat(fd).st_dev == os.stat("/proc").st_dev
    return False
