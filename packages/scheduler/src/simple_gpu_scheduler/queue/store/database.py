"""Opens the queue's SQLite file in WAL mode (sqlite.org/wal.html), and translates its errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from simple_gpu_scheduler.errors import PassingError, SgsError, UsageError
from simple_gpu_scheduler.queue.store.schema import bring_up_to_date

_BUSY_S = 30.0

#: Pages of the log beside the file at which SQLite moves them to the file, with two syncs.
_LAZY_PAGES = 4000


class QueueFile:
    """An open queue file. Its errors are `SgsError`s."""

    def __init__(self, path: str, *, lazy: bool = False) -> None:
        """Open the file; create it if there is none.

        If the disk is so full that SQLite can't open the file, it is copied to memory and can
        only be read.

        Args:
            lazy: writes survive the death of any process at once, but a crash of the machine only
                after `sync`. Without it, they survive both at once.

        Raises:
            SgsError: the file can't be used.
        """
        self.path = path
        self.lacks = ""  #: what the disk lacks, if this is a copy in memory
        with self._translated_errors(), ExitStack() as unless_opened:
            try:
                self._open(unless_opened)
            except sqlite3.OperationalError:
                unless_opened.close()
                if lazy or not self._copy_to_memory(unless_opened):
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

    def _copy_to_memory(self, unless_opened: ExitStack) -> bool:
        """Use a copy in memory, if the disk only lacks room; False if it doesn't, or fails."""
        from simple_gpu_scheduler.queue.store.memory_copy import copied  # rarely needed

        lacks = _lack(self.path)
        copy = copied(self.path) if lacks else None
        if copy is None:
            return False
        self.lacks, self.database = lacks, copy
        unless_opened.callback(copy.close)
        return True

    def is_in_place(self) -> bool:
        """False if the file was moved away, so that others open another file, or none."""
        try:
            return os.path.samestat(os.stat(self.path), self._status)
        except OSError:
            return False

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the only row of a query that always has one.

        Raises:
            SgsError: the file can't be read.
        """
        with self._translated_errors():
            row: tuple[Any, ...] = self.database.execute(query, values).fetchone()
            return row

    def all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises:
            SgsError: the file can't be read.
        """
        with self._translated_errors():
            return self.database.execute(query, values).fetchall()

    def version(self) -> int:
        """A number that changes whenever somebody else has written (sqlite.org/pragma.html)."""
        version: int = self.one("PRAGMA data_version")[0]
        return version

    def sync(self) -> None:
        """Put everything written so far on the disk.

        It stands in the log beside the file. SQLite doesn't lock this log, so closing another
        descriptor of it ends no lock.

        Raises:
            SgsError: the log can't be synced.
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
        """Do everything within as one transaction. An inner transaction is part of the outer one.

        Raises:
            PassingError: the disk has no room; nothing was done.
            SgsError: the file can't be written; nothing was done.
        """
        if self.lacks:
            raise PassingError(_unwritable(self.path, self.lacks))
        if self._is_open_transaction():
            yield self.database
            return
        with self._translated_errors():
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
            except BaseException:
                if self._is_open_transaction():
                    self.database.execute("ROLLBACK")
                raise

    def _is_open_transaction(self) -> bool:
        """True within a transaction. (A call, as mypy takes the attribute for constant.)"""
        return self.database.in_transaction

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _translated(self.path, error) from None
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r}: expected text in UTF-8") from None
        except OverflowError:
            raise UsageError("there is no job of so large a number") from None


def _translated(path: str, error: sqlite3.DatabaseError) -> SgsError:
    """Return an error that says what is wrong with the file, and what to do."""
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
        if lacks:  # SQLite reports a full disk also as an I/O error, or as a failed open
            return PassingError(_unwritable(path, lacks))
    return SgsError(f"the queue's file {path} can't be used: {text}")


def _unwritable(path: str, lacks: str) -> str:
    return f"the queue's file {path} can't be written: {lacks}; nothing was accepted or changed"


def _lack(path: str) -> str:
    """What the disk lacks, such as room; empty if it lacks nothing."""
    from simple_gpu_scheduler.files.disk_space import find_shortage  # rarely needed

    return find_shortage(os.path.dirname(path))
