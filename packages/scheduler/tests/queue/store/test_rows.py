"""Rows become records by the names of columns, wherever those stand."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.records import Attempt, Context, JobRequest, QueuedJob
from simple_gpu_scheduler.queue.store import rows
from simple_gpu_scheduler.queue.store.jobs import QueueStore

#: Each field another value.
REQUEST = JobRequest(
    b"true", 3, GPU_UNITS // 4, 500, True, 7, (), (), 1e10, 60.0, 9, "a name", "a group", "a key",
    True, b"notify", "snapshot", True, False,
)  # fmt: skip


def test_what_was_submitted_comes_back(tmp_path: Path) -> None:
    store = QueueStore(str(tmp_path / "queue.sqlite3"))
    (submitted,) = store.submit(Context(b"/", (), 0o22), [REQUEST], 5.0)
    job = store.entry(submitted.id)
    store.close()
    assert job is not None
    for field in set(REQUEST._fields) & set(QueuedJob._fields):
        assert getattr(job, field) == getattr(REQUEST, field), field
    assert (job.state, job.submitted_s, job.gpu_names) == ("held", 5.0, ())


def test_the_order_of_columns_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    QueueStore(str(path)).close()
    with closing(sqlite3.connect(path)) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(jobs)")]
        database.execute(f"CREATE TABLE other AS SELECT {', '.join(reversed(columns))} FROM jobs")
        database.execute("DROP TABLE jobs")
        database.execute("ALTER TABLE other RENAME TO jobs")
        database.execute(
            "INSERT INTO jobs (id, state, command, slots, gpus, group_name, name, gpu_names, "
            "kill_leftovers) VALUES (5, 'running', x'61', 2, 3, 'g', 'n', '0,MIG-1', 1)"
        )
        (row,) = database.execute(f"SELECT {rows.JOB_COLUMNS} FROM jobs")
    job = rows.job(row)
    assert (job.id, job.command, job.gpus, job.units) == (5, b"a", 3, GPU_UNITS // 2)
    assert (job.group, job.name, job.gpu_names) == ("g", "n", ("0", "MIG-1"))
    assert job.kill_leftovers is True


def test_an_attempt_that_runs(tmp_path: Path) -> None:
    store = QueueStore(str(tmp_path / "queue.sqlite3"))
    store.submit(Context(b"/", (), 0o22), [JobRequest(b"true")], 5.0)
    begun = Attempt(1, 1, "launcher", ("1", "0"), 6.0, boot="boot")
    store.start([begun])
    store.record([begun._replace(pid=41, start_ticks=43)], [])
    store.stop(1, "cancelled")
    running = store.running()
    store.close()
    assert running == [(begun._replace(pid=41, start_ticks=43), "cancelled")]
