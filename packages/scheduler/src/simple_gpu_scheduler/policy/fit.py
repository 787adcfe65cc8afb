"""Which GPUs a job gets: the least loaded that have room, in the order the user named them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy.model import Card, Running, Start


def load(cards: Iterable[Card], running: Iterable[Running | Start]) -> dict[str, int]:
    """Units in use on each GPU."""
    used = {card.name: card.used_units for card in cards}
    for one in running:
        for gpu in one.gpus:
            used[gpu] += one.job.units
    return used


def free_memory_mib(cards: Sequence[Card], running: Iterable[Running | Start]) -> dict[str, int]:
    """Memory that nobody uses or was promised, on each GPU of which it is known.

    What a lease asks for counts in full, also while its job has not taken it yet; what is in use
    counts where it is more than that.
    """
    ours = {card.name: 0 for card in cards if card.memory_mib is not None}
    for one in running:
        for gpu in ours.keys() & one.gpus:
            ours[gpu] += one.job.memory_mib or 0
    return {
        card.name: card.memory_mib
        - max(card.observed_mib, card.leased_mib + card.strangers_mib + ours[card.name])
        for card in cards
        if card.memory_mib is not None
    }


def most_memory_mib(cards: Iterable[Card], gpus: int) -> int:
    """The most that a job of so many GPUs can ask for on each of them; 0 if nobody knows."""
    sizes_mib = sorted((card.memory_mib or 0 for card in cards), reverse=True)
    return sizes_mib[gpus - 1] if gpus <= len(sizes_mib) else 0


def places(job: Job, cards: Sequence[Card]) -> int:
    """How many such jobs there is room for at once, if each needs one GPU."""
    free_mib = free_memory_mib(cards, ())
    found = 0
    for card in cards:
        number = (GPU_UNITS - card.used_units) // job.units
        if job.memory_mib:
            number = min(number, free_mib.get(card.name, 0) // job.memory_mib)
        found += max(0, number)
    return found


def with_capacity(
    job: Job, used: Mapping[str, int], free_mib: Mapping[str, int] | None = None
) -> list[str]:
    """GPUs with room for the job's share, the least loaded first.

    Args:
        free_mib: free memory of each GPU, for a job that says how much it needs.
    """
    most = GPU_UNITS - job.units
    if free_mib is not None and job.memory_mib is not None:
        used = {gpu: used[gpu] for gpu, mib in free_mib.items() if mib >= job.memory_mib}
    if most == 0:  # whole GPUs, the common case: nothing to sort
        return [gpu for gpu, units in used.items() if units == 0]
    return sorted((gpu for gpu, units in used.items() if units <= most), key=used.__getitem__)
