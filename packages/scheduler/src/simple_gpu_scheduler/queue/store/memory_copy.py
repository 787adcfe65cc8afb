"""A copy of the queue's file in memory, for those who look while the disk has no room.

To read a file whose log is beside it (WAL), SQLite makes a third one that its users share
(sqlite.org/wal.html, "read-only databases"). On a full disk there may be no room for that once the
server is dead. Then the file is read by one who has it alone for an instant, and needs none.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

#: Somebody else may do the same just now.
_BUSY_S = 5.0

#: With a log beside it; without one all stands in the file itself.
_ALONE, _UNCHANGED = "mode=rw&vfs=unix-excl", "mode=ro&immutable=1"


def copied(path: str) -> sqlite3.Connection | None:
    """All that the file has now; None if it can't be had so."""
    if not _size(path):
        return None
    has_log = bool(_size(f"{path}-wal"))
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        uri = _uri(path, _ALONE if has_log else _UNCHANGED)
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as source:
            source.backup(copy)
    except sqlite3.Error:
        copy.close()
        return None
    if not has_log and _size(f"{path}-wal"):  # somebody has begun to write meanwhile
        copy.close()
        return None
    return copy


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _uri(path: str, how: str) -> str:
    from urllib.parse import quote

    return f"file:{quote(os.fsencode(path))}?{how}"
