"""The plan: what to start, whom to hold, what to stop.

By default strict order: the first job that can't start holds back all behind it. That is what
keeps a job of several GPUs from starving: freed GPUs wait for it, and no later job takes one.
Where each job asks for one whole GPU it costs nothing, since the head of the queue waits only
while none is free. Where some ask for several, or jobs share GPUs, other orders do better
(`orders`); they keep the head from starving by a reservation.
"""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.policy import fit, termination
from simple_gpu_scheduler.policy.model import Card, Hold, Phase, PipePolicy, Plan, Snapshot, Start


def plan(snapshot: Snapshot, policy: PipePolicy) -> Plan:
    """Decide what to start and what to stop; the same snapshot gives the same plan.

    The starts are some of the waiting jobs in their order; in a strict order, the first ones.
    """
    starts, hold, until_s = _starts(snapshot, policy)
    stops, next_s = termination.due(snapshot, policy.grace_s)
    wakes_s = [] if next_s is None else [next_s]
    wakes_s += [
        snapshot.now_s + one.job.timeout_s for one in starts if one.job.timeout_s is not None
    ]
    if until_s is not None:
        wakes_s.append(until_s)
    return Plan(starts, hold, stops, min(wakes_s) if wakes_s else None)


def _starts(
    snapshot: Snapshot, policy: PipePolicy
) -> tuple[tuple[Start, ...], Hold | None, float | None]:
    """What starts, who is held, and when to look again if starts are to be apart."""
    waiting = snapshot.waiting
    if not waiting or snapshot.phase is not Phase.OPEN:
        return (), None, None
    if policy.order == "fifo" and policy.placement != "pack" and not policy.delay_s:
        return _in_order(snapshot, policy)
    return _walk(snapshot, policy)


def _in_order(
    snapshot: Snapshot, policy: PipePolicy
) -> tuple[tuple[Start, ...], Hold | None, float | None]:
    """What `walk` would do, sooner: a plain queue is planned once for each job that ends."""
    starts: list[Start] = []
    used = fit.load(snapshot.cards, snapshot.running)
    for job in snapshot.waiting:
        if job.memory_mib is not None:
            return _walk(snapshot, policy)
        free = fit.with_capacity(job, used)
        if len(free) < job.gpus:
            return tuple(starts), Hold(job, len(free)), None
        gpus = tuple(free[: job.gpus])
        if 1 < job.gpus < len(free):
            gpus = _best_connected(free, job.gpus, snapshot.cards)
        for gpu in gpus:
            used[gpu] += job.units
        starts.append(Start(job, gpus))
    return tuple(starts), None, None


# What a plain queue has no need of is loaded when it is needed: it would delay each first start.


def _walk(
    snapshot: Snapshot, policy: PipePolicy
) -> tuple[tuple[Start, ...], Hold | None, float | None]:
    from simple_gpu_scheduler.policy.dispatch import walk

    return walk(snapshot, policy)


def _best_connected(names: list[str], count: int, cards: Sequence[Card]) -> tuple[str, ...]:
    from simple_gpu_scheduler.policy.topology import best_connected

    return best_connected(names, count, cards)
