"""The tables of the queue, and how those of earlier versions become them."""

from __future__ import annotations

import sqlite3

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.system.failpoints import step

#: The conditions of two indexes, word for word: so SQLite sees that they serve. (For more than two
#: values of IN it would make a table, each time that a job changes.)
IS_OPEN = "(state = 'queued' OR state = 'held' OR state = 'running')"
IS_ENDED = "(state = 'succeeded' OR state = 'failed' OR state = 'cancelled' OR state = 'lost')"

#: A step for each version; the database's `user_version` says how many were taken.
_STEPS = (
    """
    CREATE TABLE contexts (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        content BLOB NOT NULL
    );
    CREATE TABLE settings (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
        state TEXT NOT NULL,
        command BLOB NOT NULL,
        context INTEGER NOT NULL REFERENCES contexts (id),
        gpus INTEGER NOT NULL,
        slots INTEGER NOT NULL,  -- so many of such jobs fill a GPU
        memory_mib INTEGER,
        auto_memory INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        blockers INTEGER NOT NULL,
        not_before_s REAL,
        timeout_s REAL,
        tries INTEGER NOT NULL,
        name TEXT NOT NULL,
        group_name TEXT NOT NULL,
        key TEXT,
        submitted_s REAL NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        started_s REAL,
        ended_s REAL,
        exit_code INTEGER,
        signal INTEGER,
        reason TEXT NOT NULL DEFAULT '',
        gpu_names TEXT NOT NULL DEFAULT '',
        stop TEXT  -- why it is to be stopped, while it runs
    );
    CREATE INDEX jobs_ready ON jobs (priority DESC, id) WHERE state = 'queued' AND blockers = 0;
    CREATE INDEX jobs_open ON jobs (state) WHERE state IN ('queued', 'held', 'running');
    CREATE INDEX jobs_of_group ON jobs (group_name) WHERE group_name != '';
    CREATE INDEX jobs_of_key ON jobs (key) WHERE key IS NOT NULL;
    CREATE TABLE needs (
        job INTEGER NOT NULL REFERENCES jobs (id),
        needed INTEGER NOT NULL REFERENCES jobs (id),
        success INTEGER NOT NULL,  -- 0: it is enough that it has ended
        PRIMARY KEY (job, needed)
    ) WITHOUT ROWID;
    CREATE INDEX needs_of ON needs (needed);
    CREATE TABLE attempts (
        job INTEGER NOT NULL REFERENCES jobs (id),
        number INTEGER NOT NULL,
        launcher TEXT NOT NULL,
        gpu_names TEXT NOT NULL,
        started_s REAL NOT NULL,
        pid INTEGER,
        start_ticks INTEGER,
        boot TEXT NOT NULL,
        ended_s REAL,
        exit_code INTEGER,
        signal INTEGER,
        reason TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (job, number)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE jobs ADD COLUMN notify BLOB;  -- a command to run once it has ended
    ALTER TABLE jobs ADD COLUMN snapshot TEXT NOT NULL DEFAULT '';  -- of the work tree it runs in
    ALTER TABLE jobs ADD COLUMN peak_vram_mib INTEGER;  -- of the last attempt
    ALTER TABLE attempts ADD COLUMN peak_vram_mib INTEGER;
    """,
    # What is to start later isn't among what is ready, and how many are in each state is counted
    # without looking at them: neither may cost more the longer the queue is.
    f"""
    ALTER TABLE attempts ADD COLUMN user_s REAL;
    ALTER TABLE attempts ADD COLUMN system_s REAL;
    ALTER TABLE attempts ADD COLUMN max_rss_mib INTEGER;  -- of the largest process
    ALTER TABLE attempts ADD COLUMN memory_mib INTEGER;  -- of each GPU, as it was asked for
    ALTER TABLE jobs ADD COLUMN requeue INTEGER NOT NULL DEFAULT 0;  -- if it is lost
    ALTER TABLE jobs ADD COLUMN kill_leftovers INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN notified INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN later INTEGER NOT NULL DEFAULT 0;  -- its time hasn't come yet
    UPDATE jobs SET later = 1 WHERE not_before_s IS NOT NULL;
    DROP INDEX jobs_ready;
    CREATE INDEX jobs_ready ON jobs (priority DESC, id)
        WHERE state = 'queued' AND blockers = 0 AND later = 0;
    CREATE INDEX jobs_later ON jobs (not_before_s) WHERE state = 'queued' AND later = 1;
    DROP INDEX jobs_open;
    CREATE INDEX jobs_open ON jobs (state) WHERE {IS_OPEN};
    CREATE INDEX jobs_ended ON jobs (state) WHERE {IS_ENDED};
    CREATE INDEX jobs_to_notify ON jobs (id)
        WHERE notify IS NOT NULL AND notified = 0 AND {IS_ENDED};
    """,
)


def bring_up_to_date(database: sqlite3.Connection, path: str) -> None:
    """Create the tables, or change them to what this version knows.

    Raises:
        SgsError: they are of a later version.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(_STEPS):
        raise SgsError(
            f"{path} is of a later version of sgs (tables {version}, this one knows "
            f"{len(_STEPS)}); use that version, or another directory by SGS_STATE_DIR"
        )
    for number in range(version, len(_STEPS)):
        database.execute("BEGIN IMMEDIATE")
        (now,) = database.execute("PRAGMA user_version").fetchone()
        if now == number:  # else somebody else was faster
            for statement in _STEPS[number].split(";"):
                database.execute(statement)
                step("migrating")
            database.execute(f"PRAGMA user_version = {number + 1}")
        database.execute("COMMIT")
