"""Jobs that are queued again, in the queue's file, and how many others each of them waits for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence


def count_blockers(database: sqlite3.Connection, jobs: Sequence[int]) -> None:
    """Count anew how many jobs each of these, and of those that wait for them, waits for."""
    database.execute(
        """
        UPDATE jobs SET blockers = (
            SELECT count(*) FROM needs JOIN jobs AS other ON other.id = needs.needed
            WHERE needs.job = jobs.id AND other.state IN ('queued', 'held', 'running')
        )
        WHERE state IN ('queued', 'held') AND id IN (
            SELECT value FROM json_each(:jobs) UNION
            SELECT job FROM needs WHERE needed IN (SELECT value FROM json_each(:jobs))
        )
        """,
        {"jobs": json.dumps(list(jobs))},
    )


def queue_again(database: sqlite3.Connection, jobs: Sequence[int]) -> list[int]:
    """Queue jobs again that have ended without success; returns them.

    They wait for those that they need and that are yet to end; not for those that have failed.
    """
    rows = database.execute(
        "UPDATE jobs SET state = 'queued', stop = NULL, reason = '', notified = 0, "
        "ended_s = NULL, exit_code = NULL, signal = NULL WHERE state IN "
        "('failed', 'cancelled', 'lost') AND id IN (SELECT value FROM json_each(?)) RETURNING id",
        (json.dumps(list(jobs)),),
    ).fetchall()
    found = sorted(job for (job,) in rows)
    count_blockers(database, found)
    return found
