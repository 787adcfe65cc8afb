"""Which of the GPUs with room a job gets."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.capacity import Capacity
from simple_gpu_scheduler.policy.fragmentation import Mix, raised
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.topology import best_connected


def choose(
    job: Job, fitting: list[str], room: Capacity, rule: str, mix: Mix = ()
) -> tuple[str, ...]:
    """The job's GPUs among those with room for it; there must be enough.

    Connections go before the rule: they cost a job of several GPUs its speed.

    Args:
        fitting: the least loaded first.
        rule: `orders.Order.cards`.
        mix: the jobs seen, for the rule `frag`.
    """
    if len(fitting) > job.gpus:
        if rule == "pack":
            fitting = least_left(job, fitting, room)
        elif rule == "frag":
            fitting = least_fragmenting(job, fitting, room, mix)
        if job.gpus > 1:
            return best_connected(fitting, job.gpus, room.cards)
    return tuple(fitting[: job.gpus])


def least_left(job: Job, fitting: list[str], room: Capacity) -> list[str]:
    """Best fit: the GPU first on which the job leaves least free."""
    if job.memory_mib is None or room.free_mib is None:
        return sorted(fitting, key=room.used.__getitem__, reverse=True)
    return sorted(fitting, key=room.free_mib.__getitem__)


def least_fragmenting(job: Job, fitting: list[str], room: Capacity, mix: Mix) -> list[str]:
    """The GPU first on which the job raises fragmentation least; among equals, best fit."""
    cards = _by_name(room.cards)
    growth = {gpu: raised(job, cards[gpu], room, mix) for gpu in fitting}
    return sorted(least_left(job, fitting, room), key=lambda gpu: round(growth[gpu], 9))


def _by_name(cards: Sequence[Card]) -> dict[str, Card]:
    return {card.name: card for card in cards}
