"""Changes to jobs that wait, and circles of jobs that would wait for each other for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS, MAX_JOBS_PER_GPU, share_units
from simple_gpu_scheduler.queue.records import QueuedJob


class Needs(NamedTuple):
    """The jobs that a job depends on."""

    after: tuple[int, ...] = ()  #: jobs that must have succeeded
    after_any: tuple[int, ...] = ()  #: jobs that must have ended, with any status


class Edit(NamedTuple):
    """New values for a job; None keeps the old value."""

    priority: int | None = None
    gpus: int | None = None
    memory_mib: int | None = None  #: of each GPU; 0: whole GPUs
    auto_memory: bool = False  #: measure how much memory the job needs
    timeout_s: float | None = None  #: 0: no limit
    tries: int | None = None  #: 0: no limit
    name: str | None = None
    not_before_s: float | None = None  #: 0: at once
    needs: Needs | None = None  #: replaces the dependencies that the job has


def changed(job: QueuedJob, edit: Edit) -> QueuedJob:
    """Return the job with its new values. Its dependencies are not part of the record."""
    job = job._replace(
        priority=job.priority if edit.priority is None else edit.priority,
        gpus=job.gpus if edit.gpus is None else edit.gpus,
        tries=job.tries if edit.tries is None else edit.tries,
        name=job.name if edit.name is None else edit.name,
    )
    if edit.timeout_s is not None:
        job = job._replace(timeout_s=edit.timeout_s or None)
    if edit.not_before_s is not None:
        job = job._replace(not_before_s=edit.not_before_s or None)
    if edit.memory_mib is None and not edit.auto_memory:
        return job
    memory_mib = edit.memory_mib or None
    units = _units(job, shares=memory_mib is not None)
    return job._replace(memory_mib=memory_mib, auto_memory=edit.auto_memory, units=units)


def _units(job: QueuedJob, *, shares: bool) -> int:
    """Units of each GPU: all of them, or the smallest share unless the job asks for another."""
    smallest = share_units(MAX_JOBS_PER_GPU)
    if shares:
        return smallest if job.units == GPU_UNITS else job.units
    return GPU_UNITS if job.units == smallest else job.units


def cycle(job: int, needed_by: Callable[[int], Iterable[int]]) -> list[int]:
    """Return the path on which a job waits for itself, from it to itself; empty if it doesn't.

    Args:
        needed_by: gives the jobs that a job waits for.
    """
    path: list[int] = [job]
    ahead: list[Iterator[int]] = [iter(needed_by(job))]
    visited: set[int] = set()
    while ahead:
        following = next(ahead[-1], None)
        if following is None:
            ahead.pop()
            path.pop()
        elif following == job:
            return [*path, job]
        elif following not in visited:
            visited.add(following)
            path.append(following)
            ahead.append(iter(needed_by(following)))
    return []
