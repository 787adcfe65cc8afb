"""Walks from the root to a folder: each folder is opened relative to the one before."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from contextlib import suppress

from simple_gpu_scheduler.files.trust import UnsafeError, remedy, trusted_users, why_unsafe
from simple_gpu_scheduler.system.users import user_name

#: Flags of open(2): open a name, whatever it is, only to check it and to go on from it.
PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
PRIVATE_MODE = 0o700


class Walk:
    """A walk from the root to a folder. Each folder on the way must be safe, but not the last."""

    def __init__(self, path: str, trusted: Collection[int] = (), *, make: bool = False) -> None:
        """Nothing is opened yet.

        Args:
            path: The path of the folder.
            trusted: Users that may own folders on the way, besides us and root.
            make: True makes the folders that don't exist.
        """
        self._trusted = {*trusted_users(), *trusted}
        self._make = make
        self._expected = "a folder"
        self._rest = path_parts(os.path.abspath(path))[::-1]  # names still to open, the last first
        self._shown = "/"  # the path of the last folder that was opened
        self._links = 0

    def end(self) -> int:
        """Walk to the end; return the folder's descriptor, of O_PATH.

        Raises:
            UnsafeError: A folder or link on the way isn't safe.
            OSError: A folder doesn't exist, or can't be opened.
        """
        return self._go(os.open(self._shown, PATH_ONLY), 0)

    def _go(self, fd: int, left: int) -> int:
        """Go on from an open folder until `left` names are left."""
        try:
            while len(self._rest) > left:
                self.require_safe(self._shown, fd)
                parent, fd = fd, self._step(fd, self._rest.pop())
                os.close(parent)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def require_safe(self, path: str, fd: int) -> None:
        """Check that only root and trusted users can change what the names in a folder mean.

        Raises:
            UnsafeError: Others can.
        """
        reason = why_unsafe(fd, self._trusted)
        if reason:
            raise UnsafeError(
                f"{path} {reason}, who could put other files there{remedy(path, fd)}"
            )

    def _step(self, fd: int, name: str) -> int:
        """Open the next folder; for a link, return the folder where its target begins."""
        path = os.path.normpath(os.path.join(self._shown, name))
        try:
            next_fd = self._open(fd, name)
        except NotADirectoryError:
            return self._follow(fd, name, path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        self._shown = path
        return next_fd

    def _open(self, fd: int, name: str) -> int:
        """Open a folder; O_DIRECTORY mounts it if it is mounted on demand (autofs)."""
        try:
            return os.open(name, PATH_ONLY | os.O_DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            if not self._make:
                raise
            self._make_folder(fd, name)
            return os.open(name, PATH_ONLY | os.O_DIRECTORY, dir_fd=fd)

    def _make_folder(self, fd: int, name: str) -> None:
        make_private_folder(fd, name)

    def _follow(self, fd: int, name: str, path: str) -> int:
        link = os.open(name, PATH_ONLY, dir_fd=fd)
        try:
            target = self._read_link(link, path)
        finally:
            os.close(link)
        self._rest += path_parts(target)[::-1]
        if not target.startswith("/"):
            return os.dup(fd)
        self._shown = "/"
        return os.open("/", PATH_ONLY)

    def _read_link(self, link: int, path: str) -> str:
        status = os.fstat(link)
        if status.st_uid not in self._trusted:
            raise UnsafeError(
                f"{path} is a link that {user_name(status.st_uid)} made; expected {self._expected}"
            )
        if not stat.S_ISLNK(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        self._links += 1
        if self._links > _MOST_LINKS or status.st_nlink > 1:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        return os.readlink("", dir_fd=link)


def make_private_folder(fd: int, name: str) -> None:
    """Make a folder that only we can use, unless the name exists."""
    with suppress(FileExistsError):
        os.mkdir(name, PRIVATE_MODE, dir_fd=fd)


def is_link(fd: int, name: str) -> bool:
    """True if a name in a folder is that of a link."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def path_parts(path: str) -> list[str]:
    """Return the names in a path."""
    return [name for name in path.split("/") if name not in ("", ".")]
