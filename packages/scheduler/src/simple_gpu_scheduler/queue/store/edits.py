"""Jobs that wait, changed in the queue's file: what they ask for, and what they wait for."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.edits import Edit, changed
from simple_gpu_scheduler.queue.records import (
    HELD,
    QUEUED,
    RUNNING,
    QueuedJob,
)
from simple_gpu_scheduler.queue.store.dependencies import set_needs
from simple_gpu_scheduler.queue.store.jobs import QueueStore

_UPDATE = """
    UPDATE jobs SET priority = ?, gpus = ?, slots = ?, memory_mib = ?, auto_memory = ?,
        timeout_s = ?, tries = ?, name = ?, not_before_s = ?, later = ? WHERE id = ?
"""


def edit_jobs(store: QueueStore, jobs: Sequence[int], edit: Edit) -> list[int]:
    """Change jobs that haven't started, all or none; returns them.

    Raises:
        UsageError: a job that is to be waited for isn't there, could never let them start, or
            waits for one of them.
        SgsError: one of them runs, or has ended.
    """
    with store.file.transaction() as database:
        entries = store.entries(jobs=jobs)
        for one in entries:
            _check(one)
        database.executemany(_UPDATE, [_row(changed(one, edit)) for one in entries])
        if edit.needs is not None:
            set_needs(database, [one.id for one in entries], edit.needs)
    return [one.id for one in entries]


def _check(entry: QueuedJob) -> None:
    job = entry.id
    if entry.state == RUNNING:
        raise SgsError(
            f"job {job} runs, and what runs can't be changed; wait for its end, or cancel it "
            f"(sgs cancel {job}) and submit it anew"
        )
    if entry.state not in (QUEUED, HELD):
        raise SgsError(
            f"job {job} has ended ({entry.state}), and only what waits can be changed; submit it "
            "anew"
        )


def _row(entry: QueuedJob) -> tuple[object, ...]:
    return (
        entry.priority, entry.gpus, GPU_UNITS // entry.units, entry.memory_mib, entry.auto_memory,
        entry.timeout_s, entry.tries, entry.name, entry.not_before_s,
        entry.not_before_s is not None, entry.id,
    )  # fmt: skip
