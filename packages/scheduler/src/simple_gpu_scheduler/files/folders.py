"""Folders and files, opened so that nobody else can put others in their place.

A path is as safe as its weakest folder. So a path is walked once, from the root, each step
relative to the descriptor of the step before: what was looked at (fstat) is what is used, also if
somebody swaps a folder for a link between two looks. A folder is *firm* if only we and root can
change what its names mean. Everything in a folder is then reached through its descriptor.

What this is for: state, leases, results and logs, also in folders that others can write.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress

from simple_gpu_scheduler.files.trust import (
    UnsafeError,
    require_own_file,
    require_own_folder,
    strange,
)
from simple_gpu_scheduler.files.walk import OURS_ALONE, Walk, is_link, make_own, parts
from simple_gpu_scheduler.system.fds import write_whole

#: Nothing is waited for (a FIFO, a lease of fcntl(2)), followed, or inherited by jobs.
CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | CAREFUL


class Folder:
    """An open folder; names in it are reached through its descriptor."""

    def __init__(self, path: str, fd: int) -> None:
        """`path` is for messages and for programs that take no descriptors."""
        self.path = path
        self.fd = fd

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let it go."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def join(self, name: str) -> str:
        """The path of a name in it."""
        return f"{self.path.rstrip('/')}/{name}"

    def names(self) -> list[str]:
        """All names in it.

        Raises:
            OSError: it can't be read.
        """
        return os.listdir(self.fd)

    def has(self, name: str) -> bool:
        """Whether there is such a name, whatever it is."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file of ours; with O_CREAT it is made if need be.

        Raises:
            UnsafeError: it isn't a plain file of ours that only we can write.
            OSError: it can't be opened.
        """
        assert not flags & os.O_TRUNC, "what is not ours would be empty before we look"
        fd = _opened(self.join(name), name, flags | CAREFUL, mode, self.fd)
        try:
            require_own_file(self.join(name), os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def require_own_names(self) -> None:
        """See that all that lies there is ours or root's, and nothing else by a second name.

        Raises:
            UnsafeError: something isn't. The message names it.
        """
        for name in self.names():
            try:
                status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:  # SQLite's files come and go
                continue
            folder = stat.S_ISDIR(status.st_mode)
            if status.st_uid not in (os.geteuid(), 0) or (not folder and status.st_nlink > 1):
                raise UnsafeError(strange(self.join(name), status))

    def create(self, name: str, mode: int = 0o600, flags: int = os.O_WRONLY) -> int:
        """A new file.

        Raises:
            FileExistsError: there is something of that name.
            OSError: it can't be made.
        """
        new = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags | new, mode, dir_fd=self.fd)

    def read(self, name: str, most_bytes: int = 1 << 30) -> bytes:
        """What a file of ours holds.

        Raises:
            UnsafeError: as `open`.
            OSError: it can't be read.
        """
        with os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            return file.read(most_bytes)

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Put a file there at once and whole, in the place of what was there.

        Raises:
            OSError: it can't be written; what was there stays.
        """
        hidden = f"{name}.{os.urandom(8).hex()}"  # nobody can have put something there before
        fd = self.create(hidden, mode)
        try:
            try:
                write_whole(fd, data)
            finally:
                os.close(fd)
            self.rename(hidden, name)
        except BaseException:
            with suppress(OSError):
                self.remove(hidden)
            raise

    def rename(self, old: str, new: str) -> None:
        """Give a name another name, in the place of what had that.

        Raises:
            OSError: it can't be.
        """
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove the name of a file.

        Raises:
            OSError: it can't be.
        """
        os.unlink(name, dir_fd=self.fd)

    def child(self, name: str, *, make: bool = False) -> Folder:
        """A folder in it that is ours, and that only we can write; with `make` it is made.

        Raises:
            UnsafeError: there is something else.
            OSError: it isn't there, or can't be made.
        """
        path = self.join(name)
        if make:
            make_own(self.fd, name)
        fd = _opened(path, name, _FOLDER, 0, self.fd)
        folder = Folder(path, fd)
        try:
            require_own_folder(path, fd)
        except BaseException:
            folder.close()
            raise
        return folder


def open_folder(path: str) -> Folder:
    """Open a folder that anybody may have made, such as one that several users share.

    What is in it is to be looked at one by one.

    Raises:
        OSError: it isn't there, or can't be opened.
    """
    return Folder(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def open_shared(path: str, *, make: Callable[[str, int], None] | None = None) -> Folder:
    """Open a folder that is no link and may be anybody's; all above it is firm.

    Who owns the folder may own those above it as well: what is in it depends on him anyway.

    Args:
        make: makes it if it isn't there, by its name and the descriptor of the folder above.

    Raises:
        UnsafeError: somebody else can put another folder in its place.
        OSError: it isn't there, or can't be made or opened.
    """
    above, name = os.path.split(path)
    trusted = _owner(path)
    walk = Walk(above, trusted)
    parent = walk.end()
    try:
        walk.require_firm(above, parent)
        try:
            fd = _opened(path, name or ".", _FOLDER, 0, parent)
        except FileNotFoundError:
            if make is None:
                raise
            make(name, parent)
            fd = _opened(path, name, _FOLDER, 0, parent)
    finally:
        os.close(parent)
    if trusted and os.fstat(fd).st_uid not in trusted:  # those above are firm for him alone
        os.close(fd)
        raise UnsafeError(f"{path} is another folder than a moment ago")
    return Folder(path, fd)


def _owner(path: str) -> tuple[int, ...]:
    try:
        return (os.lstat(path).st_uid,)
    except OSError:
        return ()


def open_private(path: str, *, above: str, make: bool = True) -> Folder:
    """Open a folder for us alone. Folders that aren't there are made, with mode 0700.

    Args:
        above: the part of the path that the user has chosen: there, links of his or of root's
            are followed. Below it there are none, and all is ours.
        make: False: nothing is made.

    Raises:
        UnsafeError: somebody else has made one of them, or can change it.
        OSError: one of them isn't there, or can't be made or opened.
    """
    walk = Walk(above, make=make)
    folder = _reopened(above, walk.end())
    walk.require_firm(above, folder.fd)
    if path == above:
        require_own_folder(path, folder.fd)
    for name in parts(os.path.relpath(path, above)):
        with folder:
            folder = folder.child(name, make=make)
    if path != above and stat.S_IMODE(os.fstat(folder.fd).st_mode) & 0o077:
        os.fchmod(folder.fd, OURS_ALONE)
    return folder


def _reopened(path: str, step: int) -> Folder:
    """The folder that a walk has come to, for reading."""
    try:
        return Folder(path, os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=step))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(step)


def _opened(path: str, name: str, flags: int, mode: int, dir_fd: int) -> int:
    """Open it, with the whole path in the error."""
    try:
        return os.open(name, flags, mode, dir_fd=dir_fd)
    except OSError as error:
        if is_link(dir_fd, name):
            raise UnsafeError(f"{path} is a symbolic link; expected none") from None
        raise OSError(error.errno, error.strerror, path) from None
