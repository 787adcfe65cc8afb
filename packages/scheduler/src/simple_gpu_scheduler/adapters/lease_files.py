"""Small files that live as long as their owner's processes, in a directory that many share.

The directory is hostile ground. A file gets its visible name only when it is locked and complete,
and the lock is one that only its owner can hold (`own_locks`). What others may have put there is
opened for no more than a look: what can't be opened at once, isn't a plain file, or isn't locked
is none of ours, and is passed over from then on at no cost. Nothing of others is removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.adapters import own_locks
from simple_gpu_scheduler.adapters.file_locks import is_held
from simple_gpu_scheduler.adapters.folders import CAREFUL, Folder
from simple_gpu_scheduler.adapters.output import write_whole
from simple_gpu_scheduler.adapters.users import user_name
from simple_gpu_scheduler.errors import CrowdedError, PassingError, SgsError

_NEW = ".new"
#: Jobs see a lease under this number or above, where no redirection of a script is in its way.
_LEAST_FD = 100
#: Of a file. A larger one is none of ours, so none of ours may be larger.
_MOST_BYTES = 1 << 16
#: Of one user's living files of a kind: who has more wants to keep others busy with reading them.
MOST_FILES = 4096
_SECOND_NS = 1_000_000_000
_TICK_NS = 50_000_000
#: For everybody to read, whatever our umask; and sticky, which keeps those who clean up /tmp from
#: removing what is old but still held (systemd-tmpfiles, by the XDG base directory specification).
_MODE = 0o1644
_COARSE_TICK_NS = 2 * _SECOND_NS + _TICK_NS  # of file systems that count in seconds, or in two
_OLD_S = 60.0
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)

#: Our own lack, which says nothing about a file. All else does: a file that isn't to be opened at
#: once (somebody has a lease of fcntl(2) on it, say) was never one of ours.
_OWN_LACK = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_FULL = (errno.ENOSPC, errno.EDQUOT)

#: How files of versions before this one begin, which are locked by flock(2) alone.
_FORMER = b'{"version": 1,'

#: Folders in which a lock was seen to mean something, by device and inode.
_with_locks: set[tuple[int, int]] = set()


class LiveFile(NamedTuple):
    """A file whose owner holds it."""

    name: str  #: without its ending
    uid: int  #: of its owner
    content: bytes
    inode: int = 0


class LeaseFiles:
    """The directory, and the files in it."""

    def __init__(self, path: str, opened: Callable[[str], Folder]) -> None:
        """Open the directory, by that function, which also makes it.

        Raises:
            SgsError: it can't be used.
        """
        self.path = path
        self._open = opened
        self._folder = opened(path)
        self._whose = _identity(os.fstat(self._folder.fd))
        self._seen: frozenset[str] = frozenset()
        self._trusted_ns: int | None = None
        self._passed: set[str] = set()  # names that aren't looked at again
        self._has_passed = False  # some of those are still in what was seen

    def __del__(self) -> None:
        with suppress(AttributeError):
            self._folder.close()

    @property
    def folder(self) -> Folder:
        """The directory that is there now; opened anew if it was replaced.

        Raises:
            SgsError: it can't be opened.
        """
        self._status()
        return self._folder

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the directory that was there when we last looked."""
        return self._whose

    def names(self) -> frozenset[str]:
        """The plain files there now, but for what is to be passed over.

        The directory is read again only where it may have changed.

        Raises:
            SgsError: it can't be read.
        """
        changed_ns = self._status().st_mtime_ns
        if changed_ns != self._trusted_ns:
            try:
                found = self._scan()
            except OSError as error:
                raise unreadable(self.path, error) from None
            self._passed &= found
            self._seen = found - self._passed
            # Two changes within a tick of the file system's clock have the same time.
            tick_ns = _TICK_NS if changed_ns % _SECOND_NS else _COARSE_TICK_NS
            old = time.time_ns() - changed_ns > tick_ns
            self._trusted_ns = changed_ns if old else None
        elif self._has_passed:
            self._seen -= self._passed
        self._has_passed = False
        return self._seen

    def pass_over(self, name: str) -> None:
        """Look at it no more: an honest file is what it is from its first moment to its last."""
        self._passed.add(name)
        self._has_passed = True

    def _status(self) -> os.stat_result:
        try:
            status = os.lstat(self.path)
        except OSError as error:
            raise unreadable(self.path, error) from None
        if (status.st_dev, status.st_ino) != self._whose:
            folder = self._open(self.path)
            self._folder.close()
            self._folder, self._trusted_ns = folder, None
            self._whose = _identity(os.fstat(folder.fd))
            self._passed.clear()
        return status

    def _scan(self) -> frozenset[str]:
        """By a description of our own: a forked child that reads, too, would move on ours."""
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder.fd)
        try:
            with os.scandir(fd) as entries:
                return frozenset(
                    entry.name for entry in entries if entry.is_file(follow_symlinks=False)
                )
        finally:
            os.close(fd)

    def live(self, names: Iterable[str], ending: str) -> Iterator[LiveFile]:
        """Those of the files with that ending that their owners hold.

        Raises:
            SgsError: a file can't be read for want of something of ours.
        """
        by_user: dict[int, int] = {}
        for name in names:
            if name in self._passed or not name.endswith(ending):
                continue
            found = self._look(name)
            if found is not None:
                by_user[found.uid] = by_user.get(found.uid, 0) + 1
                if by_user[found.uid] > MOST_FILES:
                    self.pass_over(name)
                else:
                    yield found._replace(name=name.removesuffix(ending))

    def _look(self, name: str) -> LiveFile | None:
        """The file, if its owner holds it; one of ours that isn't held is removed."""
        try:
            # For reading only: closing it wakes none of those who watch for the end of a lease.
            fd = os.open(name, os.O_RDONLY | CAREFUL, dir_fd=self._folder.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _OWN_LACK:
                raise unreadable(f"{self.path}/{name}", error) from None
            self.pass_over(name)
            return None
        try:
            return self._look_into(name, fd)
        except OSError as error:
            raise unusable(self._folder, error) from None
        finally:
            os.close(fd)

    def _look_into(self, name: str, fd: int) -> LiveFile | None:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MOST_BYTES:
            held = own_locks.is_locked(fd)
            content = os.read(fd, _MOST_BYTES)
            if held or (content.startswith(_FORMER) and is_held(fd)):
                return LiveFile(name, status.st_uid, content, status.st_ino)
        self.pass_over(name)  # it got its name when it was held: it never will be again
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            with suppress(OSError):
                self._folder.remove(name)
        return None

    def add(self, name: str, ending: str, content: bytes) -> int:
        """Add a file that lives as long as its descriptor is open somewhere; returns that.

        Raises:
            SgsError: it can't be written or locked.
        """
        if len(content) > _MOST_BYTES:
            raise SgsError(
                f"no GPU can be leased: the names of these GPUs take {len(content)} bytes; "
                f"expected {_MOST_BYTES} at most (use shorter ones, or numbers)"
            )
        folder = self._folder
        try:
            return _add_unnamed(folder, name + ending, content)
        except OSError as error:
            if error.errno not in _NO_UNNAMED:
                raise unusable(folder, error) from None
        try:
            return _add_hidden(folder, name, ending, content)
        except OSError as error:
            raise unusable(folder, error) from None

    def end(self, fd: int, name: str) -> None:
        """End a file of ours, whoever else has its descriptor."""
        with suppress(OSError):
            own_locks.unlock(fd)
            fcntl.flock(fd, fcntl.LOCK_UN)
        with suppress(OSError):  # somebody of ours who saw it unlocked may have removed it
            there = os.stat(name, dir_fd=self._folder.fd, follow_symlinks=False)
            if os.path.samestat(there, os.fstat(fd)):
                self._folder.remove(name)
        os.close(fd)

    def sweep(self, names: Iterable[str]) -> None:
        """Remove what we were killed over while we added it."""
        for name in names:
            if name.endswith(_NEW):
                with suppress(OSError):
                    status = os.stat(name, dir_fd=self._folder.fd, follow_symlinks=False)
                    old = time.time() - status.st_mtime > _OLD_S
                    if status.st_uid == os.geteuid() and old:
                        self._folder.remove(name)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def unusable(folder: Folder, error: OSError) -> SgsError:
    """What is wrong with the directory, for who wants to write there."""
    if error.errno in _NO_LOCKS:
        return SgsError(
            f"no GPU can be leased: {folder.path}: its file system has no working locks (flock); "
            "name a local directory by SGS_LEASE_DIR"
        )
    kind = PassingError if error.errno in _FULL else _kind(error)
    crowd = _crowd(folder) if error.errno in _FULL else ""
    return kind(f"no GPU can be leased: {folder.path} can't be written ({error.strerror}{crowd})")


def unreadable(path: str, error: OSError) -> SgsError:
    """What is wrong with the directory or a file in it, for who wants to look."""
    return _kind(error)(f"no GPU can be leased: {path} can't be read ({error.strerror})")


def _kind(error: OSError) -> type[SgsError]:
    if error.errno == errno.EMFILE:
        return CrowdedError
    return PassingError if error.errno in _OWN_LACK else SgsError


def _crowd(folder: Folder) -> str:
    """Who has the most files there."""
    owners: Counter[int] = Counter()
    with suppress(OSError):
        for name in folder.names():
            with suppress(OSError):
                owners[os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_uid] += 1
    if not owners:
        return ""
    uid, number = owners.most_common(1)[0]
    return f"; {user_name(uid)} has {number} files there"


def _add_unnamed(folder: Folder, name: str, content: bytes) -> int:
    """By a file that has no name until it is locked and complete (open(2), O_TMPFILE)."""
    fd = _high(os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder.fd))
    try:
        _fill(folder, fd, content)
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder.fd, follow_symlinks=True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _add_hidden(folder: Folder, name: str, ending: str, content: bytes) -> int:
    """By a file that others can't open until it is locked and complete."""
    fd = _high(folder.create(name + _NEW, flags=os.O_RDWR))
    try:
        _fill(folder, fd, content)
        folder.rename(name + _NEW, name + ending)
    except BaseException:
        os.close(fd)
        with suppress(OSError):
            folder.remove(name + _NEW)
        raise
    return fd


def _fill(folder: Folder, fd: int, content: bytes) -> None:
    """Lock it and write it. Versions before this one see it by the lock of flock(2)."""
    if not own_locks.lock(fd):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    write_whole(fd, content)
    _check_locks(folder, fd)
    os.fchmod(fd, _MODE)


def _high(fd: int) -> int:
    try:
        high_fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD)
    except OSError:  # few are allowed (ulimit -n)
        return fd
    os.close(fd)
    return high_fd


def _check_locks(folder: Folder, fd: int) -> None:
    """See that locks mean something here: on some file systems they are granted to everybody."""
    where = _identity(os.fstat(folder.fd))
    if where in _with_locks:
        return
    other = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not (own_locks.is_locked(other) and is_held(other)):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    finally:
        os.close(other)
    _with_locks.add(where)
