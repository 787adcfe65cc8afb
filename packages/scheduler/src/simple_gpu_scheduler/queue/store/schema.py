"""Creates the tables of the queue's file, and upgrades those of earlier versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.system.failpoints import step

#: The conditions of two indexes, word for word, so that SQLite uses them. (For IN with more than
#: two values, SQLite would make a table each time that a job changes.)
IS_OPEN = "(state = 'queued' OR state = 'held' OR state = 'running')"
IS_ENDED = "(state = 'succeeded' OR state = 'failed' OR state = 'cancelled' OR state = 'lost')"

#: A folder with a file of statements for each version of the tables. The database's `user_version`
#: is the number of files that were run.
_FOLDER = Path(__file__).with_name("migrations")
VERSION = 3


def bring_up_to_date(database: sqlite3.Connection, path: str) -> None:
    """Create the tables, or upgrade them to this version.

    Raises:
        SgsError: the tables are of a later version.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise SgsError(
            f"{path} is of a later version of sgs (tables {version}, this one knows {VERSION}); "
            "use that version, or another directory by SGS_STATE_DIR"
        )
    for number in range(version, VERSION):
        statements = list(_statements((_FOLDER / f"{number + 1}.sql").read_text()))
        database.execute("BEGIN IMMEDIATE")
        (current,) = database.execute("PRAGMA user_version").fetchone()
        if current == number:  # else another process was faster
            for statement in statements:
                database.execute(statement)
                step("migrating")
            database.execute(f"PRAGMA user_version = {number + 1}")
        database.execute("COMMIT")


def _statements(text: str) -> Iterator[str]:
    """Split a file into statements as SQLite does. Each statement ends at the end of a line."""
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        lines.append(line)
        if sqlite3.complete_statement("".join(lines)):
            yield "".join(lines)
            lines = []
    assert not "".join(lines).strip(), "a migration ends within a statement"
