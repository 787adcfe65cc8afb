"""The plan: which jobs to start, which one is held, and which ones to stop.

The default order is strict: the first job that can't start holds back all jobs behind it. So a job
of several GPUs doesn't starve: freed GPUs stay free for it. If each job asks for one whole GPU,
that costs nothing, since the first job waits only while no GPU is free. Otherwise other orders do
better (`orders`). They keep the first job from starving by a reservation (`reservation`).
"""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.policy import fit, termination
from simple_gpu_scheduler.policy.model import Card, Hold, Phase, PipePolicy, Plan, Snapshot, Start


def plan(snapshot: Snapshot, policy: PipePolicy) -> Plan:
    """Decide which jobs to start and which to stop; the same snapshot gives the same plan.

    The starts keep the order of the waiting jobs. In a strict order they are the first ones.
    """
    starts, hold, until_s = _starts(snapshot, policy)
    stops, next_s = termination.due(snapshot, policy.grace_s)
    wakes_s = [] if next_s is None else [next_s]
    wakes_s += [
        snapshot.now_s + start.job.timeout_s for start in starts if start.job.timeout_s is not None
    ]
    if until_s is not None:
        wakes_s.append(until_s)
    return Plan(starts, hold, stops, min(wakes_s) if wakes_s else None)


def _starts(
    snapshot: Snapshot, policy: PipePolicy
) -> tuple[tuple[Start, ...], Hold | None, float | None]:
    """The starts, the hold, and with --delay: when the next job may start."""
    waiting = snapshot.waiting
    if not waiting or snapshot.phase is not Phase.OPEN:
        return (), None, None
    if policy.order == "fifo" and policy.placement != "pack" and not policy.delay_s:
        return _in_order(snapshot, policy)
    return _walk(snapshot, policy)


def _in_order(
    snapshot: Snapshot, policy: PipePolicy
) -> tuple[tuple[Start, ...], Hold | None, float | None]:
    """The same as `walk`, but faster: a plain queue is planned anew for each job that ends."""
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


# A plain queue doesn't need these modules. They are imported late, as that delays the first job.


def _walk(
    snapshot: Snapshot, policy: PipePolicy
) -> tuple[tuple[Start, ...], Hold | None, float | None]:
    from simple_gpu_scheduler.policy.dispatch import walk

    return walk(snapshot, policy)


def _best_connected(names: list[str], count: int, cards: Sequence[Card]) -> tuple[str, ...]:
    from simple_gpu_scheduler.policy.topology import best_connected

    return best_connected(names, count, cards)
