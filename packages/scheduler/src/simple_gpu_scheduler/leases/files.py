"""Small files that live as long as their owner's processes, in a directory that many share.

The directory is hostile ground. A file gets its visible name only when it is locked and complete,
and the lock is one that only its owner can hold (`ofd_lock`). What others may have put there is
opened for no more than a look: what can't be opened at once, isn't a plain file, or isn't locked
is none of ours, and is passed over from then on at no cost. Nothing of others is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Container, Iterable
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.folders import CAREFUL, Folder
from simple_gpu_scheduler.leases.errors import OWN_LACK, unreadable, unusable
from simple_gpu_scheduler.leases.publishing import NEW, add_file, identity
from simple_gpu_scheduler.system import ofd_lock
from simple_gpu_scheduler.system.flock import is_held

#: Of a file. A larger one is none of ours, so none of ours may be larger.
_MOST_BYTES = 1 << 16
#: Of one user's living files of a kind together: who has more only wants to keep others busy. It
#: is room for some 2,400 leases; a small one counts like that.
MOST_BYTES_OF_A_USER = 1 << 20
_LEAST_BYTES = 400
_CROWD = 256
#: As our programs, and those of versions before, name theirs.
_OWN_NAME = re.compile(r"(\d+-[0-9a-f]+(-\d+)?\.(lease|ticket))|[0-9a-f-]+\.new")
_OWN_ID = re.compile(r"\d+-[0-9a-f]+")
_SECOND_NS = 1_000_000_000
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2 * _SECOND_NS + _TICK_NS  # of file systems that count in seconds, or in two
_OLD_S = 60.0

#: How files of versions before this one begin, which are locked by flock(2) alone.
_FORMER = b'{"version": 1,'


class LiveFile(NamedTuple):
    """A file whose owner holds it."""

    name: str  #: without its ending
    uid: int  #: of its owner
    content: bytes
    inode: int = 0
    changed_s: float = 0.0  #: when the file came to be as it is, by the clock on the wall


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
        self._whose = identity(os.fstat(self._folder.fd))
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
            self._whose = identity(os.fstat(folder.fd))
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

    def live(self, names: Collection[str], ending: str) -> list[LiveFile]:
        """Those of the files with that ending that their owners hold, each once.

        Anybody may have given another user's file a second name (link(2)): it counts by its own.

        Raises:
            SgsError: a file can't be read for want of something of ours.
        """
        found: dict[int, LiveFile] = {}  # by inode
        named: set[int] = set()  # those that we have by their own names
        crowded = len(names) > _CROWD
        for name in names:
            if name in self._passed or not name.endswith(ending):
                continue
            if crowded and self._is_nothing(name, named):
                continue
            one = self._read_name(name)
            if one is not None and one.inode not in named:
                one = one._replace(name=name.removesuffix(ending))
                found[one.inode] = one
                if _is_named(one):
                    named.add(one.inode)
        return self._within_bounds(found.values(), ending)

    def _within_bounds(self, files: Iterable[LiveFile], ending: str) -> list[LiveFile]:
        """Without those of users who have more than anybody needs, to keep others busy."""
        used: dict[int, int] = {}
        kept: list[LiveFile] = []
        for one in files:
            used[one.uid] = used.get(one.uid, 0) + max(len(one.content), _LEAST_BYTES)
            if used[one.uid] > MOST_BYTES_OF_A_USER:
                self.pass_over(one.name + ending)
            else:
                kept.append(one)
        return kept

    def _is_nothing(self, name: str, known: Container[int]) -> bool:
        """True if it is empty, huge, or known by its own name: cheaper to see than to look."""
        try:
            status = os.stat(name, dir_fd=self._folder.fd, follow_symlinks=False)
        except OSError:
            return True
        if status.st_ino not in known and 0 < status.st_size <= _MOST_BYTES:
            return False
        self.pass_over(name)  # it got its name when it was whole
        self._remove_own(name, status)
        return True

    def _read_name(self, name: str) -> LiveFile | None:
        """The file, if its owner holds it; one of ours that is over is removed."""
        try:
            # For reading only: closing it wakes none of those who watch for the end of a lease.
            fd = os.open(name, os.O_RDONLY | CAREFUL, dir_fd=self._folder.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in OWN_LACK:
                raise unreadable(f"{self.path}/{name}", error) from None
            self.pass_over(name)
            return None
        try:
            return self._read_file(name, fd)
        except OSError as error:
            raise unusable(self._folder, error) from None
        finally:
            os.close(fd)

    def _read_file(self, name: str, fd: int) -> LiveFile | None:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MOST_BYTES:
            held = ofd_lock.is_locked(fd)
            content = os.read(fd, _MOST_BYTES)
            if held or (content.startswith(_FORMER) and is_held(fd)):
                return LiveFile(name, status.st_uid, content, status.st_ino, status.st_ctime)
        self.pass_over(name)  # it got its name when it was held: it never will be again
        self._remove_own(name, status)
        return None

    def _remove_own(self, name: str, status: os.stat_result) -> None:
        """Remove what one of our programs has left; whatever else is of such a name stays."""
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if ours and status.st_nlink == 1 and _OWN_NAME.fullmatch(name):
            with suppress(OSError):
                self._folder.remove(name)

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
        try:
            return add_file(self._folder, name + ending, content)
        except OSError as error:
            raise unusable(self._folder, error) from None

    def end(self, fd: int, name: str) -> None:
        """End a file of ours, whoever else has its descriptor."""
        with suppress(OSError):
            ofd_lock.unlock(fd)
            fcntl.flock(fd, fcntl.LOCK_UN)
        with suppress(OSError):  # somebody of ours who saw it unlocked may have removed it
            there = os.stat(name, dir_fd=self._folder.fd, follow_symlinks=False)
            if os.path.samestat(there, os.fstat(fd)):
                self._folder.remove(name)
        os.close(fd)

    def sweep(self, names: Iterable[str]) -> None:
        """Remove what we were killed over while we added it."""
        for name in names:
            if name.endswith(NEW):
                with suppress(OSError):
                    status = os.stat(name, dir_fd=self._folder.fd, follow_symlinks=False)
                    if time.time() - status.st_mtime > _OLD_S:
                        self._remove_own(name, status)


def _is_named(file: LiveFile) -> bool:
    """Whether its name is what the file says that it is. Ours say so first of all."""
    first = b'{"version": 2, "id": "%s", ' % file.name.encode(errors="surrogateescape")
    if _OWN_ID.fullmatch(file.name) and file.content.startswith(first):
        return True
    try:
        return bool(json.loads(file.content.partition(b"\n")[0])["id"] == file.name)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
