"""Which GPUs have room for a job: the least loaded first; among equals, the user's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy.model import Card, Running, Start


def load(cards: Iterable[Card], running: Iterable[Running | Start]) -> dict[str, int]:
    """Units in use on each GPU, by others and by these jobs."""
    used = {card.name: card.used_units for card in cards}
    for active in running:
        for gpu in active.gpus:
            used[gpu] += active.job.units
    return used


def free_memory_mib(cards: Sequence[Card], running: Iterable[Running | Start]) -> dict[str, int]:
    """Memory that is neither in use nor leased, in MiB; GPUs of unknown memory are left out.

    What a lease asks for counts in full, even if its job doesn't use it yet. What is in use counts
    if it is more than that.
    """
    ours = {card.name: 0 for card in cards if card.memory_mib is not None}
    for active in running:
        for gpu in ours.keys() & active.gpus:
            ours[gpu] += active.job.memory_mib or 0
    return {
        card.name: card.memory_mib
        - max(card.observed_mib, card.leased_mib + card.strangers_mib + ours[card.name])
        for card in cards
        if card.memory_mib is not None
    }


def most_memory_mib(cards: Iterable[Card], gpus: int) -> int:
    """The most memory that a job of `gpus` GPUs can ask for on each, in MiB; 0 if unknown."""
    sizes_mib = sorted((card.memory_mib or 0 for card in cards), reverse=True)
    return sizes_mib[gpus - 1] if gpus <= len(sizes_mib) else 0


def places(job: Job, cards: Sequence[Card]) -> int:
    """How many such jobs, of one GPU each, fit at once beside what others have."""
    free_mib = free_memory_mib(cards, ())
    count = 0
    for card in cards:
        fitting = (GPU_UNITS - card.used_units) // job.units
        if job.memory_mib:
            fitting = min(fitting, free_mib.get(card.name, 0) // job.memory_mib)
        count += max(0, fitting)
    return count


def with_capacity(
    job: Job, used: Mapping[str, int], free_mib: Mapping[str, int] | None = None
) -> list[str]:
    """GPUs with room for the job's share, the least loaded first.

    Args:
        used: units in use on each GPU.
        free_mib: free memory of each GPU in MiB, for a job that asks for memory.
    """
    most = GPU_UNITS - job.units
    if free_mib is not None and job.memory_mib is not None:
        used = {gpu: used[gpu] for gpu, mib in free_mib.items() if mib >= job.memory_mib}
    if most == 0:  # whole GPUs, the common case: nothing to sort
        return [gpu for gpu, units in used.items() if units == 0]
    return sorted((gpu for gpu, units in used.items() if units <= most), key=used.__getitem__)
