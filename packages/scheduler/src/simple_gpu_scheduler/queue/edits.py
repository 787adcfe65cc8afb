"""What may be changed of a job that waits, and when jobs would wait for each other for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS, MAX_JOBS_PER_GPU, share_units
from simple_gpu_scheduler.queue.records import QueuedJob


class Needs(NamedTuple):
    """What a job waits for."""

    after: tuple[int, ...] = ()  #: jobs that must have succeeded
    after_any: tuple[int, ...] = ()  #: jobs that must have ended, however


class Edit(NamedTuple):
    """What is to be changed; None: it stays as it is."""

    priority: int | None = None
    gpus: int | None = None
    memory_mib: int | None = None  #: of each GPU; 0: whole GPUs
    auto_memory: bool = False  #: find the memory out
    timeout_s: float | None = None  #: 0: without end
    tries: int | None = None  #: 0: without end
    name: str | None = None
    not_before_s: float | None = None  #: 0: at once
    needs: Needs | None = None  #: in the place of those that it has


def changed(entry: QueuedJob, edit: Edit) -> QueuedJob:
    """The job as it will be, but for its needs."""
    entry = entry._replace(
        priority=entry.priority if edit.priority is None else edit.priority,
        gpus=entry.gpus if edit.gpus is None else edit.gpus,
        tries=entry.tries if edit.tries is None else edit.tries,
        name=entry.name if edit.name is None else edit.name,
    )
    if edit.timeout_s is not None:
        entry = entry._replace(timeout_s=edit.timeout_s or None)
    if edit.not_before_s is not None:
        entry = entry._replace(not_before_s=edit.not_before_s or None)
    if edit.memory_mib is None and not edit.auto_memory:
        return entry
    memory_mib = edit.memory_mib or None
    units = _units(entry, shares=memory_mib is not None)
    return entry._replace(memory_mib=memory_mib, auto_memory=edit.auto_memory, units=units)


def _units(entry: QueuedJob, *, shares: bool) -> int:
    """Of each GPU: all of it, or as small a share as there is, if the job doesn't say."""
    smallest = share_units(MAX_JOBS_PER_GPU)
    if shares:
        return smallest if entry.units == GPU_UNITS else entry.units
    return GPU_UNITS if entry.units == smallest else entry.units


def cycle(job: int, needed_by: Callable[[int], Iterable[int]]) -> list[int]:
    """How a job waits for itself, from it to itself; empty if it doesn't.

    Args:
        needed_by: the jobs that a job waits for.
    """
    path: list[int] = [job]
    ahead: list[Iterator[int]] = [iter(needed_by(job))]
    known: set[int] = set()
    while ahead:
        following = next(ahead[-1], None)
        if following is None:
            ahead.pop()
            path.pop()
        elif following == job:
            return [*path, job]
        elif following not in known:
            known.add(following)
            path.append(following)
            ahead.append(iter(needed_by(following)))
    return []
