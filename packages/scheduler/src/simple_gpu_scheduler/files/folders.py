"""Folders for state, leases and results, opened so that nobody else can replace them.

A path is as safe as its weakest folder. So a path is walked once, from the root, and each folder
is opened relative to the descriptor of the one before. What was checked (fstat) is then what is
used, even if somebody replaces a folder by a link meanwhile. A folder is *safe* if only we and
root can change what the names in it mean. What is in a folder is reached through its descriptor.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress

from simple_gpu_scheduler.files.trust import (
    UnsafeError,
    describe_unsafe_file,
    require_own_file,
    require_own_folder,
)
from simple_gpu_scheduler.files.walk import (
    PRIVATE_MODE,
    Walk,
    is_link,
    make_private_folder,
    path_parts,
)
from simple_gpu_scheduler.system.fds import write_whole

#: Flags of open(2): don't follow links, don't wait (for a FIFO, or a lease of fcntl(2)), and don't
#: let jobs inherit the descriptor.
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
        """Close the folder."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def join(self, name: str) -> str:
        """Return the path of a name in the folder."""
        return f"{self.path.rstrip('/')}/{name}"

    def names(self) -> list[str]:
        """Return all names in the folder.

        Raises:
            OSError: It can't be read.
        """
        return os.listdir(self.fd)

    def has(self, name: str) -> bool:
        """True if the name exists, whatever it is."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file of ours; with O_CREAT it is made if it doesn't exist.

        Raises:
            UnsafeError: It isn't a plain file of ours that only we can write.
            OSError: It can't be opened.
        """
        assert not flags & os.O_TRUNC, "a file of others would be emptied before the check"
        fd = _open(self.join(name), name, flags | CAREFUL, mode, self.fd)
        try:
            require_own_file(self.join(name), os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def require_own_names(self) -> None:
        """Check that everything in the folder belongs to us or root, and no file has a hard link.

        Raises:
            UnsafeError: Something does not. The message names it.
        """
        for name in self.names():
            try:
                status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:  # SQLite's files come and go
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            if status.st_uid not in (os.geteuid(), 0) or (not is_folder and status.st_nlink > 1):
                raise UnsafeError(describe_unsafe_file(self.join(name), status))

    def create(self, name: str, mode: int = 0o600, flags: int = os.O_WRONLY) -> int:
        """Make a file and open it; return its descriptor.

        Raises:
            FileExistsError: The name exists.
            OSError: The file can't be made.
        """
        new_flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags | new_flags, mode, dir_fd=self.fd)

    def read(self, name: str, most_bytes: int = 1 << 30) -> bytes:
        """Read a file of ours.

        Raises:
            UnsafeError: See `open`.
            OSError: It can't be read.
        """
        with os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            return file.read(most_bytes)

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Write a file as a whole, in the place of an earlier one.

        Raises:
            OSError: It can't be written; the earlier one stays.
        """
        new = f"{name}.{os.urandom(8).hex()}"  # random: nobody can have taken the name before
        fd = self.create(new, mode)
        try:
            try:
                write_whole(fd, data)
            finally:
                os.close(fd)
            self.rename(new, name)
        except BaseException:
            with suppress(OSError):
                self.remove(new)
            raise

    def rename(self, old: str, new: str) -> None:
        """Rename a file, in the place of an earlier one of the new name.

        Raises:
            OSError: It can't be renamed.
        """
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove a file.

        Raises:
            OSError: It can't be removed.
        """
        os.unlink(name, dir_fd=self.fd)

    def child(self, name: str, *, make: bool = False) -> Folder:
        """Open a folder in this one that is ours, and that only we can write.

        Args:
            name: Its name.
            make: True makes it if it doesn't exist.

        Raises:
            UnsafeError: The name is that of something else.
            OSError: The folder doesn't exist, or can't be made or opened.
        """
        path = self.join(name)
        if make:
            make_private_folder(self.fd, name)
        fd = _open(path, name, _FOLDER, 0, self.fd)
        folder = Folder(path, fd)
        try:
            require_own_folder(path, fd)
        except BaseException:
            folder.close()
            raise
        return folder


def open_folder(path: str) -> Folder:
    """Open a folder that anybody may have made, such as one that several users share.

    The caller has to check each file in it.

    Raises:
        OSError: It doesn't exist, or can't be opened.
    """
    return Folder(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def open_shared(path: str, *, make: Callable[[str, int], None] | None = None) -> Folder:
    """Open a folder that anybody may own, but that isn't a link; all folders above it are safe.

    The owner of the folder may own those above it as well: he controls what is in it anyway.

    Args:
        path: The path of the folder.
        make: Makes the folder if it doesn't exist. It gets the name and the descriptor of the
            folder above (default: nothing is made).

    Raises:
        UnsafeError: Another user can put another folder in its place.
        OSError: It doesn't exist, or can't be made or opened.
    """
    above, name = os.path.split(path)
    trusted = _find_owner(path)
    walk = Walk(above, trusted)
    parent = walk.end()
    try:
        walk.require_safe(above, parent)
        try:
            fd = _open(path, name or ".", _FOLDER, 0, parent)
        except FileNotFoundError:
            if make is None:
                raise
            make(name, parent)
            fd = _open(path, name, _FOLDER, 0, parent)
    finally:
        os.close(parent)
    if trusted and os.fstat(fd).st_uid not in trusted:  # those above are safe only for that owner
        os.close(fd)
        raise UnsafeError(f"{path} is another folder than a moment ago")
    return Folder(path, fd)


def _find_owner(path: str) -> tuple[int, ...]:
    try:
        return (os.lstat(path).st_uid,)
    except OSError:
        return ()


def open_private(path: str, *, above: str, make: bool = True) -> Folder:
    """Open a folder that only we can use. Folders that don't exist are made, with mode 0700.

    Args:
        path: The path of the folder.
        above: The part of the path that the user has chosen. There, links of his or of root's are
            followed. Below it there must be no links, and all folders must be ours.
        make: False makes no folders.

    Raises:
        UnsafeError: Another user has made one of the folders, or can change it.
        OSError: One of the folders doesn't exist, or can't be made or opened.
    """
    walk = Walk(above, make=make)
    folder = _reopen(above, walk.end())
    walk.require_safe(above, folder.fd)
    if path == above:
        require_own_folder(path, folder.fd)
    for name in path_parts(os.path.relpath(path, above)):
        with folder:
            folder = folder.child(name, make=make)
    if path != above and stat.S_IMODE(os.fstat(folder.fd).st_mode) & 0o077:
        os.fchmod(folder.fd, PRIVATE_MODE)
    return folder


def _reopen(path: str, path_fd: int) -> Folder:
    """Open the folder at which a walk has ended for reading; `path_fd` is closed."""
    try:
        return Folder(
            path, os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=path_fd)
        )
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(path_fd)


def _open(path: str, name: str, flags: int, mode: int, dir_fd: int) -> int:
    """Open a name in a folder; errors name the whole path."""
    try:
        return os.open(name, flags, mode, dir_fd=dir_fd)
    except OSError as error:
        if is_link(dir_fd, name):
            raise UnsafeError(f"{path} is a symbolic link; expected none") from None
        raise OSError(error.errno, error.strerror, path) from None
