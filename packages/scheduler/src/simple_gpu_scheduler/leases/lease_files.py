"""Small files that live as long as their owner's processes, in a directory that many share.

Anybody may put anything into the directory. One of our files gets its visible name only when it
is locked and complete, and only its owner can hold that lock (`ofd_lock`). Files of others are
opened for reading only. A file that can't be opened at once, isn't a plain file, or isn't locked
is not one of ours: it is skipped from then on, at no cost. Files of others are never removed.
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
from simple_gpu_scheduler.leases.file_creation import NEW, add_file, identity
from simple_gpu_scheduler.system import ofd_lock
from simple_gpu_scheduler.system.flock import is_held

#: The size limit of a file. A larger file is ignored, and we write none.
_MOST_BYTES = 1 << 16
#: The size limit of one user's live files of a kind together: enough for some 2,400 leases. Files
#: beyond it only keep others busy, and are ignored.
MOST_BYTES_OF_A_USER = 1 << 20
#: What a file counts at least: the size of a small lease.
_LEAST_BYTES = 400
#: With more files than this, each is checked by stat(2) before it is opened: that is cheaper.
_CROWD = 256
#: Names that our programs, of this version and before, give to their files.
_OWN_NAME = re.compile(r"(\d+-[0-9a-f]+(-\d+)?\.(lease|ticket))|[0-9a-f-]+\.new")
_OWN_ID = re.compile(r"\d+-[0-9a-f]+")
_SECOND_NS = 1_000_000_000
_TICK_NS = 50_000_000
#: For file systems that store times in whole seconds, or in steps of two.
_COARSE_TICK_NS = 2 * _SECOND_NS + _TICK_NS
_OLD_S = 60.0

#: How files of earlier versions begin. They are locked by flock(2) alone.
_EARLIER = b'{"version": 1,'


class LiveFile(NamedTuple):
    """A file that its owner has locked."""

    name: str  #: without its ending
    uid: int  #: the owner's
    content: bytes
    inode: int = 0
    changed_s: float = 0.0  #: when its inode last changed, wall clock


class LeaseFiles:
    """The directory, and the files in it."""

    def __init__(self, path: str, open_folder: Callable[[str], Folder]) -> None:
        """Open the directory.

        Args:
            path: the directory.
            open_folder: opens the directory, and creates it if it should.

        Raises:
            SgsError: the directory can't be used.
        """
        self.path = path
        self._open = open_folder
        self._folder = open_folder(path)
        self._identity = identity(os.fstat(self._folder.fd))
        self._names: frozenset[str] = frozenset()
        self._trusted_ns: int | None = None  # the directory's time for which `_names` holds
        self._skipped: set[str] = set()  # names that aren't opened again
        self._has_skipped = False  # True: some of those are still in `_names`

    def __del__(self) -> None:
        with suppress(AttributeError):
            self._folder.close()

    @property
    def folder(self) -> Folder:
        """The directory that is at the path now; opened again if it was replaced.

        Raises:
            SgsError: it can't be opened.
        """
        self._status()
        return self._folder

    @property
    def identity(self) -> tuple[int, int]:
        """The device and inode of the directory when it was last checked."""
        return self._identity

    def names(self) -> frozenset[str]:
        """The names of the plain files in the directory, without the skipped ones.

        The directory is read again only if it may have changed.

        Raises:
            SgsError: it can't be read.
        """
        changed_ns = self._status().st_mtime_ns
        if changed_ns != self._trusted_ns:
            try:
                names = self._scan()
            except OSError as error:
                raise unreadable(self.path, error) from None
            self._skipped &= names
            self._names = names - self._skipped
            # Two changes within one tick of the file system's clock have the same time.
            tick_ns = _TICK_NS if changed_ns % _SECOND_NS else _COARSE_TICK_NS
            is_old = time.time_ns() - changed_ns > tick_ns
            self._trusted_ns = changed_ns if is_old else None
        elif self._has_skipped:
            self._names -= self._skipped
        self._has_skipped = False
        return self._names

    def skip(self, name: str) -> None:
        """Never open this file again: a file that isn't one of ours never becomes one."""
        self._skipped.add(name)
        self._has_skipped = True

    def _status(self) -> os.stat_result:
        try:
            status = os.lstat(self.path)
        except OSError as error:
            raise unreadable(self.path, error) from None
        if (status.st_dev, status.st_ino) != self._identity:
            folder = self._open(self.path)
            self._folder.close()
            self._folder, self._trusted_ns = folder, None
            self._identity = identity(os.fstat(folder.fd))
            self._skipped.clear()
        return status

    def _scan(self) -> frozenset[str]:
        """List the directory by a new descriptor: forked children share the old one's offset."""
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder.fd)
        try:
            with os.scandir(fd) as entries:
                return frozenset(
                    entry.name for entry in entries if entry.is_file(follow_symlinks=False)
                )
        finally:
            os.close(fd)

    def live(self, names: Collection[str], ending: str) -> list[LiveFile]:
        """The files with that ending that their owners have locked, each once.

        Anybody may give another user's file a second name (link(2)). Such a file is returned once,
        by the name that its owner gave it.

        Raises:
            SgsError: a file can't be read, as this process or machine has run out of something.
        """
        files: dict[int, LiveFile] = {}  # by inode
        named: set[int] = set()  # inodes of files that we have by the names their owners gave them
        is_crowded = len(names) > _CROWD
        for name in names:
            if name in self._skipped or not name.endswith(ending):
                continue
            if is_crowded and self._is_worthless(name, named):
                continue
            file = self._read_name(name)
            if file is not None and file.inode not in named:
                file = file._replace(name=name.removesuffix(ending))
                files[file.inode] = file
                if _is_named(file):
                    named.add(file.inode)
        return self._within_bounds(files.values(), ending)

    def _within_bounds(self, files: Iterable[LiveFile], ending: str) -> list[LiveFile]:
        """The files without those beyond the size limit of a user."""
        used: dict[int, int] = {}
        kept: list[LiveFile] = []
        for file in files:
            used[file.uid] = used.get(file.uid, 0) + max(len(file.content), _LEAST_BYTES)
            if used[file.uid] > MOST_BYTES_OF_A_USER:
                self.skip(file.name + ending)
            else:
                kept.append(file)
        return kept

    def _is_worthless(self, name: str, named: Container[int]) -> bool:
        """True if it is empty, huge, or already read by its own name. Cheaper than to open it."""
        try:
            status = os.stat(name, dir_fd=self._folder.fd, follow_symlinks=False)
        except OSError:
            return True
        if status.st_ino not in named and 0 < status.st_size <= _MOST_BYTES:
            return False
        self.skip(name)  # one of ours is complete when it gets its name
        self._remove_own(name, status)
        return True

    def _read_name(self, name: str) -> LiveFile | None:
        """The file, if its owner has locked it. An unlocked one of ours is removed."""
        try:
            # Read-only: closing it then wakes no program that watches for the end of a lease.
            fd = os.open(name, os.O_RDONLY | CAREFUL, dir_fd=self._folder.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in OWN_LACK:
                raise unreadable(f"{self.path}/{name}", error) from None
            self.skip(name)
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
            is_locked = ofd_lock.is_locked(fd)
            content = os.read(fd, _MOST_BYTES)
            if is_locked or (content.startswith(_EARLIER) and is_held(fd)):
                return LiveFile(name, status.st_uid, content, status.st_ino, status.st_ctime)
        self.skip(name)  # one of ours is locked when it gets its name, and only once
        self._remove_own(name, status)
        return None

    def _remove_own(self, name: str, status: os.stat_result) -> None:
        """Remove a file that one of our programs has left. Files that aren't ours stay."""
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if is_ours and status.st_nlink == 1 and _OWN_NAME.fullmatch(name):
            with suppress(OSError):
                self._folder.remove(name)

    def add(self, name: str, ending: str, content: bytes) -> int:
        """Add a file that lives as long as its descriptor is open anywhere; return the descriptor.

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
        """Unlock and remove a file of ours, even if other processes have its descriptor open."""
        with suppress(OSError):
            ofd_lock.unlock(fd)
            fcntl.flock(fd, fcntl.LOCK_UN)
        with suppress(OSError):  # another program of this user may have removed it meanwhile
            status = os.stat(name, dir_fd=self._folder.fd, follow_symlinks=False)
            if os.path.samestat(status, os.fstat(fd)):
                self._folder.remove(name)
        os.close(fd)

    def sweep(self, names: Iterable[str]) -> None:
        """Remove incomplete files of ours, left where a program was killed while it added them."""
        for name in names:
            if name.endswith(NEW):
                with suppress(OSError):
                    status = os.stat(name, dir_fd=self._folder.fd, follow_symlinks=False)
                    if time.time() - status.st_mtime > _OLD_S:
                        self._remove_own(name, status)


def _is_named(file: LiveFile) -> bool:
    """True if the file has the name that it says it has. In ours, that is the first field."""
    first = b'{"version": 2, "id": "%s", ' % file.name.encode(errors="surrogateescape")
    if _OWN_ID.fullmatch(file.name) and file.content.startswith(first):
        return True
    try:
        return bool(json.loads(file.content.partition(b"\n")[0])["id"] == file.name)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
