"""Small files that live as long as somebody holds their lock, in a directory that many share.

A file gets its visible name only when it is locked and complete. Nothing that another user may
have put into the directory is opened for more than a look, waited for, or taken for one of ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.adapters.file_locks import is_held
from simple_gpu_scheduler.adapters.output import write_whole
from simple_gpu_scheduler.errors import SgsError

_NEW = ".new"
#: Jobs see a lease under this number or above, where no redirection of a script is in its way.
_LEAST_FD = 100
#: Of a file. A larger one is none of ours, so none of ours may be larger.
_MOST_BYTES = 1 << 16
_SECOND_NS = 1_000_000_000
_TICK_NS = 50_000_000
#: For everybody to read, whatever our umask; and sticky, which keeps those who clean up /tmp from
#: removing what is old but still held (systemd-tmpfiles, by the XDG base directory specification).
_MODE = 0o1644
_COARSE_TICK_NS = 2 * _SECOND_NS + _TICK_NS  # of file systems that count in seconds, or in two
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

#: Folders in which a lock was seen to mean something.
_with_locks: set[str] = set()

#: Why a file that was listed can't be opened: it is gone, or was never one of ours.
_NONE_OF_OURS = (errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV)


class LiveFile(NamedTuple):
    """A file that somebody holds."""

    name: str  #: without its ending
    uid: int  #: of its owner
    content: bytes


class Listing:
    """The names in a directory, read again only where they may have changed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._names: frozenset[str] = frozenset()
        self._trusted_ns: int | None = None

    def names(self) -> frozenset[str]:
        """All names there now.

        Raises:
            SgsError: the directory can't be read.
        """
        try:
            changed_ns = os.stat(self.path).st_mtime_ns
            if changed_ns != self._trusted_ns:
                self._names = frozenset(os.listdir(self.path))
                # Two changes within a tick of the file system's clock have the same time.
                tick_ns = _TICK_NS if changed_ns % _SECOND_NS else _COARSE_TICK_NS
                old = time.time_ns() - changed_ns > tick_ns
                self._trusted_ns = changed_ns if old else None
        except OSError as error:
            raise unreadable(self.path, error) from None
        return self._names


def live_files(folder: str, names: Iterable[str], ending: str) -> Iterator[LiveFile]:
    """Those of the files with that ending that are held; the others are removed, if we may.

    Raises:
        SgsError: a file can't be read.
    """
    for name in names:
        if name.endswith(ending):
            found = _look(f"{folder}/{name}")
            if found is not None:
                yield LiveFile(name.removesuffix(ending), *found)


def add_file(folder: str, name: str, ending: str, content: bytes) -> int:
    """Add a file that lives as long as its descriptor is open somewhere; returns that.

    Raises:
        SgsError: it can't be written or locked.
    """
    if len(content) > _MOST_BYTES:
        raise SgsError(
            f"no GPU can be leased: the names of these GPUs take {len(content)} bytes; expected "
            f"{_MOST_BYTES} at most (use shorter ones, or numbers)"
        )
    hidden, visible = (os.path.join(folder, name + end) for end in (_NEW, ending))
    try:
        fd = _create(hidden)
        try:
            os.fchmod(fd, _MODE)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_whole(fd, content)
            if folder not in _with_locks:
                _check_locked(hidden)
                _with_locks.add(folder)
            os.rename(hidden, visible)
        except BaseException:
            os.close(fd)
            os.unlink(hidden)
            raise
    except OSError as error:
        raise unusable(folder, error) from None
    return fd


def end_file(fd: int, path: str) -> None:
    """End a file of ours, whoever else has its descriptor."""
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    with suppress(OSError):  # somebody who saw it unlocked may have removed it
        os.unlink(path)
    os.close(fd)


def sweep(folder: str, names: Iterable[str]) -> None:
    """Remove what was killed while it was being added; nobody may add one meanwhile."""
    for name in names:
        if name.endswith(_NEW):
            _look(os.path.join(folder, name))


def unusable(folder: str, error: OSError) -> SgsError:
    """What is wrong with the directory, for who wants to write there."""
    if error.errno in _NO_LOCKS:
        why = "its file system has no working locks (flock)"
        return SgsError(
            f"no GPU can be leased: {folder}: {why}; name a local directory by SGS_LEASE_DIR"
        )
    return SgsError(f"no GPU can be leased: {folder} can't be written ({error.strerror})")


def unreadable(path: str, error: OSError) -> SgsError:
    """What is wrong with the directory or a file in it, for who wants to look."""
    return SgsError(f"no GPU can be leased: {path} can't be read ({error.strerror})")


def _look(path: str) -> tuple[int, bytes] | None:
    """Owner and content of a file that is held; one that isn't is removed, if we may."""
    try:
        # For reading only: closing it wakes none of those who watch for the end of a lease.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NONE_OF_OURS:
            return None
        raise unreadable(path, error) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        if is_held(fd):
            return status.st_uid, os.read(fd, min(status.st_size, _MOST_BYTES))
        with suppress(OSError):  # another user's, in a sticky directory
            os.unlink(path)
        return None
    except OSError as error:
        raise unusable(os.path.dirname(path), error) from None
    finally:
        os.close(fd)


def _create(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        high_fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD)
    except OSError:  # few are allowed (ulimit -n)
        return fd
    os.close(fd)
    return high_fd


def _check_locked(path: str) -> None:
    """See that a lock means something here: on some file systems it is granted to everybody."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if is_held(fd):
            return
    finally:
        os.close(fd)
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
