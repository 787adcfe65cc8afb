"""Copies the queue's file to memory, for commands that read it while the disk is full.

To read a file in WAL mode, SQLite creates a third file that all readers share
(sqlite.org/wal.html, "read-only databases"). On a full disk there may be no room for it once the
server is dead. With an exclusive lock SQLite needs no such file. So we take that lock for an
instant, and copy everything.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from urllib.parse import quote

#: How long to wait for another process that copies the file.
_BUSY_S = 5.0

#: How to open a file with a log, and one without: that one is complete without a log.
_WITH_LOG, _WITHOUT_LOG = "mode=rw&vfs=unix-excl", "mode=ro&immutable=1"


def copied(path: str) -> sqlite3.Connection | None:
    """Return a copy of the file in memory; None if it can't be copied."""
    if not _size(path):
        return None
    has_log = bool(_size(f"{path}-wal"))
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        uri = _uri(path, _WITH_LOG if has_log else _WITHOUT_LOG)
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as source:
            source.backup(copy)
    except sqlite3.Error:
        copy.close()
        return None
    if not has_log and _size(f"{path}-wal"):  # another process has begun to write meanwhile
        copy.close()
        return None
    return copy


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _uri(path: str, options: str) -> str:
    return f"file:{quote(os.fsencode(path))}?{options}"
