"""Fragmentation: how much of what is free is of no use to the jobs that come.

The free part of a GPU is a fragment for a job that doesn't fit in it. A GPU's fragmentation is the
average of that over the mix of jobs. A job goes where it raises fragmentation least. The idea is
fragmentation gradient descent (Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing
Workloads with Fragmentation Gradient Descent", USENIX ATC 2023).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy.capacity import Capacity
from simple_gpu_scheduler.policy.model import Card, Running

#: How many of the waiting jobs, the first ones, stand for all jobs to come.
SAMPLE = 64

#: What jobs take of each of their GPUs: units, MiB or None, and the part of all jobs that do so.
Mix = Sequence[tuple[int, int | None, float]]


def mix_of(waiting: Iterable[Job], running: Iterable[Running]) -> Mix:
    """The sizes of the waiting and running jobs, and how common each size is."""
    jobs = itertools.chain(itertools.islice(waiting, SAMPLE), (active.job for active in running))
    sizes = Counter((job.units, job.memory_mib) for job in jobs)
    return [(units, mib, count / sizes.total()) for (units, mib), count in sizes.items()]


def raised(job: Job, card: Card, capacity: Capacity, mix: Mix) -> float:
    """How much the fragmentation of the GPU grows if the job starts there, as a part of a GPU."""
    units = GPU_UNITS - capacity.used[card.name]
    mib = capacity.read_memory().get(card.name)
    left_mib = None if mib is None else mib - (job.memory_mib or 0)
    before = fragment(units, mib, card.memory_mib, mix)
    return fragment(units - job.units, left_mib, card.memory_mib, mix) - before


def fragment(units: int, mib: int | None, memory_mib: int | None, mix: Mix) -> float:
    """The part of a GPU, 0 to 1, that is free but of no use, averaged over the mix.

    Args:
        units: free units of the GPU.
        mib: free memory of the GPU; None: unknown.
        memory_mib: all memory of the GPU; None: unknown.
    """
    useless = sum(
        part
        for need, need_mib, part in mix
        if need > units or (need_mib is not None and (mib is None or need_mib > mib))
    )
    free = units / GPU_UNITS
    if mib is not None and memory_mib:
        free = min(free, max(0, mib) / memory_mib)
    return free * useless
