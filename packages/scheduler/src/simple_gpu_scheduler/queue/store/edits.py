"""Changes jobs in the queue's file that wait: their requests and their dependencies."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.edits import Edit, changed
from simple_gpu_scheduler.queue.records import (
    HELD,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    QueuedJob,
)
from simple_gpu_scheduler.queue.store.dependencies import set_needs
from simple_gpu_scheduler.queue.store.jobs import QueueStore

_UPDATE = """
    UPDATE jobs SET priority = ?, gpus = ?, slots = ?, memory_mib = ?, auto_memory = ?,
        timeout_s = ?, tries = ?, name = ?, not_before_s = ?, later = ? WHERE id = ?
"""


def edit_jobs(store: QueueStore, jobs: Sequence[int], edit: Edit) -> list[int]:
    """Change jobs that wait, all or none; returns their numbers.

    Raises:
        UsageError: a new dependency doesn't exist, has ended without the success that they need,
            or depends on one of them.
        SgsError: one of the jobs runs, or has ended.
    """
    with store.file.transaction() as database:
        entries = store.entries(jobs=jobs)
        for job in entries:
            _check_waits(job)
        database.executemany(_UPDATE, [_row(changed(job, edit)) for job in entries])
        if edit.needs is not None:
            set_needs(database, [job.id for job in entries], edit.needs)
    return [job.id for job in entries]


def _check_waits(job: QueuedJob) -> None:
    if job.state == RUNNING:
        raise SgsError(
            f"job {job.id} runs, and a running job can't be changed; wait for its end, or cancel "
            f"it (sgs cancel {job.id}) and submit it again"
        )
    if job.state not in (QUEUED, HELD):
        retry = "" if job.state == SUCCEEDED else f", or sgs retry {job.id}"
        raise SgsError(
            f"job {job.id} has ended ({job.state}), and only waiting jobs can be changed; submit "
            f"it again{retry}"
        )


def _row(job: QueuedJob) -> tuple[object, ...]:
    return (
        job.priority, job.gpus, GPU_UNITS // job.units, job.memory_mib, job.auto_memory,
        job.timeout_s, job.tries, job.name, job.not_before_s, job.not_before_s is not None, job.id,
    )  # fmt: skip
