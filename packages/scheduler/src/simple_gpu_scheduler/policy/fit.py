"""Which GPUs a job gets: the least loaded that have room, in the order the user named them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from simple_gpu_scheduler.model import GPU_UNITS, Job, Running


def load(gpus: Iterable[str], running: Iterable[Running]) -> dict[str, int]:
    """Units in use on each GPU."""
    used = dict.fromkeys(gpus, 0)
    for one in running:
        for gpu in one.gpus:
            used[gpu] += one.job.units
    return used


def with_room(job: Job, used: Mapping[str, int]) -> list[str]:
    """GPUs with room for the job's share, the least loaded first."""
    most = GPU_UNITS - job.units
    if most == 0:  # whole GPUs, the common case: nothing to sort
        return [gpu for gpu, units in used.items() if units == 0]
    return sorted((gpu for gpu, units in used.items() if units <= most), key=used.__getitem__)
