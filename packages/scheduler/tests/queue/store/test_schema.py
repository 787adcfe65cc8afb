"""The tables: what migrations make of an empty file, and what the rest of the code relies on."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from simple_gpu_scheduler.queue.store import schema


def made(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    schema.bring_up_to_date(database, str(path))
    return database


def test_there_is_a_file_for_each_version() -> None:
    folder = Path(schema.__file__).with_name("migrations")
    names = {f"{number}.sql" for number in range(1, schema.VERSION + 1)}
    assert {path.name for path in folder.iterdir()} == names


def test_the_indexes_have_the_conditions_that_queries_repeat(tmp_path: Path) -> None:
    """SQLite compares them by their words."""
    database = made(tmp_path / "queue.sqlite3")
    indexes = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
    database.close()
    assert indexes["jobs_open"].endswith(f"WHERE {schema.IS_OPEN}")
    assert indexes["jobs_ended"].endswith(f"WHERE {schema.IS_ENDED}")
    assert indexes["jobs_to_notify"].endswith(f"AND {schema.IS_ENDED}")


def test_a_statement_ends_where_sqlite_says_so() -> None:
    text = "-- a; comment\nCREATE TABLE a (\n  b TEXT DEFAULT ';' -- c;\n);\nSELECT ';\n';\n"
    first, second = schema._statements(text)
    assert re.match(r"-- a; comment\nCREATE TABLE a \(", first)
    assert second == "SELECT ';\n';\n"
