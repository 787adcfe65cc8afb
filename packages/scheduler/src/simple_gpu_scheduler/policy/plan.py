"""The plan: strict order. The first job that can't start holds back all behind it.

That is what keeps a job of several GPUs from starving: freed GPUs wait for it, and no later
job takes one. With whole GPUs it costs nothing that could be had without knowing runtimes,
since the head of the queue waits only while fewer GPUs are free than it needs.
"""

from __future__ import annotations

from simple_gpu_scheduler.model import Hold, Phase, PipePolicy, Plan, Snapshot, Start
from simple_gpu_scheduler.policy import fit, stop


def plan(snapshot: Snapshot, policy: PipePolicy) -> Plan:
    """Decide what to start and what to stop; the same snapshot gives the same plan."""
    starts, hold = _starts(snapshot, policy)
    stops, next_s = stop.due(snapshot, policy.grace_s)
    wakes_s = [] if next_s is None else [next_s]
    wakes_s += [
        snapshot.now_s + one.job.timeout_s for one in starts if one.job.timeout_s is not None
    ]
    if hold is not None and hold.until_s is not None:
        wakes_s.append(hold.until_s)
    return Plan(starts, hold, stops, min(wakes_s) if wakes_s else None)


def _starts(snapshot: Snapshot, policy: PipePolicy) -> tuple[tuple[Start, ...], Hold | None]:
    starts: list[Start] = []
    if not snapshot.waiting or snapshot.phase is not Phase.OPEN:
        return (), None
    used = fit.load(snapshot.cards, snapshot.running)
    free_mib: dict[str, int] | None = None  # found out for the first job that asks
    last_start_s = snapshot.last_start_s
    for job in snapshot.waiting:
        if job.memory_mib is not None and free_mib is None:
            free_mib = fit.free_memory_mib(snapshot.cards, (*snapshot.running, *starts))
        free = fit.with_room(job, used, free_mib)
        if len(free) < job.gpus:
            return tuple(starts), Hold(job, len(free))
        if policy.delay_s and last_start_s is not None:
            until_s = last_start_s + policy.delay_s
            if snapshot.now_s < until_s:
                return tuple(starts), Hold(job, len(free), until_s)
        gpus = tuple(free[: job.gpus])
        for gpu in gpus:
            used[gpu] += job.units
            if free_mib is not None and job.memory_mib is not None:
                free_mib[gpu] -= job.memory_mib
        starts.append(Start(job, gpus))
        last_start_s = snapshot.now_s
    return tuple(starts), None
