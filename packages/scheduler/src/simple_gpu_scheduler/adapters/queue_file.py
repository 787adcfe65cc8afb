"""The queue's file: SQLite, where what was accepted outlives any crash (sqlite.org/wal.html)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from simple_gpu_scheduler.adapters.queue_schema import bring_up_to_date
from simple_gpu_scheduler.errors import SgsError, UsageError

_BUSY_S = 30.0
_LEAST_BYTES = 1 << 16

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
        with self._told(), ExitStack() as unless_opened:
            old_umask = os.umask(0o077)
            try:
                self.database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
                unless_opened.callback(self.database.close)
                self.database.execute("PRAGMA journal_mode = WAL")
                self.database.execute("PRAGMA synchronous = FULL")
            finally:
                os.umask(old_umask)
            self._status = os.stat(path)
            bring_up_to_date(self.database, path)
            if lazy:
                self.database.execute("PRAGMA synchronous = NORMAL")
                self.database.execute(f"PRAGMA wal_autocheckpoint = {_LAZY_PAGES}")
            unless_opened.pop_all()

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
            SgsError: the file can't be written; nothing was done.
        """
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
            raise SgsError(_in_words(self.path, error)) from None
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r}: expected text in UTF-8") from None
        except OverflowError:
            raise UsageError("there is no job of so large a number") from None


def _in_words(path: str, error: sqlite3.DatabaseError) -> str:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return (
            f"the queue's file {path} is damaged ({text}); move it away (what it held may be "
            "recovered by `sqlite3 FILE .recover`), and a new one is made"
        )
    if "disk is full" in text or ("disk I/O error" in text and _is_full(path)):
        return f"the queue's file {path} can't be written: the disk is full; nothing was accepted"
    return f"the queue's file {path} can't be used: {text}"


def _is_full(path: str) -> bool:
    """Whether there is no room for a few pages, which SQLite may call an error of the disk."""
    try:
        status = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < _LEAST_BYTES
