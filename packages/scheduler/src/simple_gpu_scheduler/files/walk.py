"""The way from the root to a folder, each step relative to the descriptor of the one before."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from contextlib import suppress

from simple_gpu_scheduler.files.trust import UnsafeError, remedy, trusted_users, why_not_firm
from simple_gpu_scheduler.system.users import user_name

#: To look at what is there, whatever it is, and to go on from it.
STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
OURS_ALONE = 0o700


class Walk:
    """The way from the root to a folder, on which each folder must be firm but the last."""

    def __init__(self, path: str, trusted: Collection[int] = (), *, make: bool = False) -> None:
        self._trusted = {*trusted_users(), *trusted}
        self._make = make
        self._expected = "a folder"
        self._rest = parts(os.path.abspath(path))[::-1]  # what is still to go, the last first
        self._shown = "/"  # where we are
        self._links = 0

    def end(self) -> int:
        """The folder's descriptor, of O_PATH."""
        return self._go(os.open(self._shown, STEP), 0)

    def _go(self, fd: int, left: int) -> int:
        """Go on from an open folder until so many names are left."""
        try:
            while len(self._rest) > left:
                self.require_firm(self._shown, fd)
                before, fd = fd, self._step(fd, self._rest.pop())
                os.close(before)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def require_firm(self, path: str, fd: int) -> None:
        """See that only root and those whom we trust can change what the names in it mean.

        Raises:
            UnsafeError: somebody else can.
        """
        why = why_not_firm(fd, self._trusted)
        if why:
            raise UnsafeError(f"{path} {why}, who could put other files there{remedy(path, fd)}")

    def _step(self, fd: int, name: str) -> int:
        """The next folder; after a link, where that begins."""
        path = os.path.normpath(os.path.join(self._shown, name))
        try:
            step = self._open(fd, name)
        except NotADirectoryError:
            return self._follow(fd, name, path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        self._shown = path
        return step

    def _open(self, fd: int, name: str) -> int:
        """Open it; O_DIRECTORY has it mounted where that is done by need (autofs)."""
        try:
            return os.open(name, STEP | os.O_DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            if not self._make:
                raise
            self._make_folder(fd, name)
            return os.open(name, STEP | os.O_DIRECTORY, dir_fd=fd)

    def _make_folder(self, fd: int, name: str) -> None:
        make_own(fd, name)

    def _follow(self, fd: int, name: str, path: str) -> int:
        link = os.open(name, STEP, dir_fd=fd)
        try:
            target = self._target(link, path)
        finally:
            os.close(link)
        self._rest += parts(target)[::-1]
        if not target.startswith("/"):
            return os.dup(fd)
        self._shown = "/"
        return os.open("/", STEP)

    def _target(self, link: int, path: str) -> str:
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


def make_own(fd: int, name: str) -> None:
    """Make a folder for us alone, unless there is something of that name."""
    with suppress(FileExistsError):
        os.mkdir(name, OURS_ALONE, dir_fd=fd)


def is_link(fd: int, name: str) -> bool:
    """Whether a name in a folder is that of a link."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def parts(path: str) -> list[str]:
    """The names on a path."""
    return [part for part in path.split("/") if part not in ("", ".")]
