"""Choose a job's GPUs among those with room for it."""

from __future__ import annotations

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.capacity import Capacity
from simple_gpu_scheduler.policy.fragmentation import Mix, raised
from simple_gpu_scheduler.policy.topology import best_connected


def choose(
    job: Job, fitting: list[str], capacity: Capacity, rule: str, mix: Mix = ()
) -> tuple[str, ...]:
    """Choose the job's GPUs.

    How well GPUs are connected counts more than the rule, as a job of several GPUs is slow without
    good connections.

    Args:
        fitting: GPUs with room, the least loaded first; at least as many as the job needs.
        rule: see `orders.Order.cards`.
        mix: the sizes of the jobs, for the rule `frag`.
    """
    if len(fitting) > job.gpus:
        if rule == "pack":
            fitting = least_left(job, fitting, capacity)
        elif rule == "frag":
            fitting = least_fragmenting(job, fitting, capacity, mix)
        if job.gpus > 1:
            return best_connected(fitting, job.gpus, capacity.cards)
    return tuple(fitting[: job.gpus])


def least_left(job: Job, fitting: list[str], capacity: Capacity) -> list[str]:
    """Sort by best fit: first the GPU on which the job leaves least free."""
    if job.memory_mib is None or capacity.free_mib is None:
        return sorted(fitting, key=capacity.used.__getitem__, reverse=True)
    return sorted(fitting, key=capacity.free_mib.__getitem__)


def least_fragmenting(job: Job, fitting: list[str], capacity: Capacity, mix: Mix) -> list[str]:
    """Sort by fragmentation: first where the job raises it least; among equals, best fit."""
    cards = {card.name: card for card in capacity.cards}
    growth = {gpu: raised(job, cards[gpu], capacity, mix) for gpu in fitting}
    return sorted(least_left(job, fitting, capacity), key=lambda gpu: round(growth[gpu], 9))
