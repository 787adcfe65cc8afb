"""The queue's file: SQLite, where what was accepted outlives any crash (sqlite.org/wal.html)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from simple_gpu_scheduler.errors import PassingError, SgsError, UsageError
from simple_gpu_scheduler.queue.store.schema import bring_up_to_date

_BUSY_S = 30.0

#: How long the log beside the file may grow before it is brought there, which takes two syncs.
_LAZY_PAGES = 4000


class QueueFile:
    """An open file, with SQLite's errors in words for a user."""

    def __init__(self, path: str, *, lazy: bool = False) -> None:
        """Open it; it is created if need be.

        Args:
            lazy: what is written outlives the death of any process at once, and that of the
                machine once `sync` was called; else both at once.

        Raises:
            SgsError: it can't be used.
        """
        self.path = path
        self.lacks = ""  #: why it can't be written: this is a copy, of what it had when opened
        with self._told(), ExitStack() as unless_opened:
            try:
                self._open(unless_opened)
            except sqlite3.OperationalError:
                unless_opened.close()
                if lazy or not self._copy(unless_opened):
                    raise
            self._status = os.stat(path)
            bring_up_to_date(self.database, path)
            if lazy:
                self.database.execute("PRAGMA synchronous = NORMAL")
                self.database.execute(f"PRAGMA wal_autocheckpoint = {_LAZY_PAGES}")
            unless_opened.pop_all()

    def _open(self, unless_opened: ExitStack) -> None:
        old_umask = os.umask(0o077)
        try:
            self.database = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            unless_opened.callback(self.database.close)
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = FULL")
        finally:
            os.umask(old_umask)

    def _copy(self, unless_opened: ExitStack) -> bool:
        """Read all of it, if it is there and only lacks room; False if not."""
        from simple_gpu_scheduler.queue.store.memory_copy import copied

        lacks = _lack(self.path)
        copy = copied(self.path) if lacks else None
        if copy is None:
            return False
        self.lacks, self.database = lacks, copy
        unless_opened.callback(copy.close)
        return True

    def is_in_place(self) -> bool:
        """False if it was moved away: then whoever comes now meets another file, or none."""
        try:
            return os.path.samestat(os.stat(self.path), self._status)
        except OSError:
            return False

    def close(self) -> None:
        """Let it go."""
        self.database.close()

    def one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The row, where there always is one.

        Raises:
            SgsError: the file can't be read.
        """
        with self._told():
            row: tuple[Any, ...] = self.database.execute(query, values).fetchone()
            return row

    def all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows.

        Raises:
            SgsError: the file can't be read.
        """
        with self._told():
            return self.database.execute(query, values).fetchall()

    def version(self) -> int:
        """Another number whenever somebody else has written (sqlite.org/pragma.html)."""
        version: int = self.one("PRAGMA data_version")[0]
        return version

    def sync(self) -> None:
        """Have all that was written on the disk.

        It stands in the log beside the file, which SQLite doesn't lock, so that another
        descriptor of it does no harm.

        Raises:
            SgsError: it can't be brought there.
        """
        try:
            fd = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SgsError(f"{self.path} can't be synced: {error.strerror}") from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done within is done as a whole; one within another is a part of that.

        Raises:
            PassingError: there is no room for it; nothing was done.
            SgsError: the file can't be written; nothing was done.
        """
        if self.lacks:
            raise PassingError(_unwritable(self.path, self.lacks))
        if self._is_within():
            yield self.database
            return
        with self._told():
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
            except BaseException:
                if self._is_within():
                    self.database.execute("ROLLBACK")
                raise

    def _is_within(self) -> bool:
        return self.database.in_transaction

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _in_words(self.path, error) from None
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r}: expected text in UTF-8") from None
        except OverflowError:
            raise UsageError("there is no job of so large a number") from None


def _in_words(path: str, error: sqlite3.DatabaseError) -> SgsError:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return SgsError(
            f"the queue's file {path} is damaged ({text}); move it away (what it held may be "
            "recovered by `sqlite3 FILE .recover`), and a new one is made"
        )
    if "disk is full" in text:
        return PassingError(_unwritable(path, _lack(path) or "the disk is full"))
    if isinstance(error, sqlite3.OperationalError) and "locked" not in text:
        lacks = _lack(path)
        if lacks:  # SQLite calls it an error of the disk, or a file that can't be opened
            return PassingError(_unwritable(path, lacks))
    return SgsError(f"the queue's file {path} can't be used: {text}")


def _unwritable(path: str, lacks: str) -> str:
    return f"the queue's file {path} can't be written: {lacks}; nothing was accepted or changed"


def _lack(path: str) -> str:
    from simple_gpu_scheduler.files.disk_space import lack  # mostly there is room

    return lack(os.path.dirname(path))
