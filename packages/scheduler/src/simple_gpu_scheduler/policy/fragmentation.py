"""Fragmentation: how much of what is free would be of no use to the jobs that come.

After the idea of fragmentation gradient descent (Weng et al., "Beware of Fragmentation:
Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC 2023): the free
part of a card is a fragment to a job that doesn't fit in it; a card's fragmentation is that,
averaged over the mix of jobs seen; a job goes where it raises fragmentation least.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy.capacity import Capacity
from simple_gpu_scheduler.policy.model import Card, Running

#: So many of the waiting jobs stand for those to come.
SEEN = 64

#: What a job takes of each of its cards: units, and MiB or None; with its part of all jobs.
Mix = Sequence[tuple[int, int | None, float]]


def mix_of(waiting: Iterable[Job], running: Iterable[Running]) -> Mix:
    """The sizes of the jobs that are there, and how common each is."""
    jobs = itertools.chain(itertools.islice(waiting, SEEN), (one.job for one in running))
    sizes = Counter((job.units, job.memory_mib) for job in jobs)
    return [(units, mib, count / sizes.total()) for (units, mib), count in sizes.items()]


def raised(job: Job, card: Card, room: Capacity, mix: Mix) -> float:
    """How much fragmentation of the card grows if the job starts there, in cards."""
    units = GPU_UNITS - room.used[card.name]
    mib = room.read_memory().get(card.name)
    left_mib = None if mib is None else mib - (job.memory_mib or 0)
    before = fragment(units, mib, card.memory_mib, mix)
    return fragment(units - job.units, left_mib, card.memory_mib, mix) - before


def fragment(units: int, mib: int | None, memory_mib: int | None, mix: Mix) -> float:
    """The part of a card, 0 to 1, that is free but of no use, averaged over the mix.

    Args:
        units: free on the card.
        mib: free on the card; None: not known.
        memory_mib: all of its memory.
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
