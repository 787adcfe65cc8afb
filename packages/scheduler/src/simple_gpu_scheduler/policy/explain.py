"""Which GPUs a job would get now, and what speaks for or against each GPU, for the user.

`plan` decides; this explains its decision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy import reasons
from simple_gpu_scheduler.policy.capacity import Capacity
from simple_gpu_scheduler.policy.dispatch import hold_for_capacity
from simple_gpu_scheduler.policy.model import Card, Hold, PipePolicy, Plan, Snapshot
from simple_gpu_scheduler.policy.orders import order_of
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.topology import MAX_SETS, connection


class GpuClaims(NamedTuple):
    """Who has a part of a GPU, and why else it isn't taken. Empty texts: nobody, no reason."""

    fault: str = ""  #: why it can't be used
    held: tuple[str, ...] = ()  #: who has leases on it: "anna's notebook (pid 41) since 14:02"
    reserved: tuple[str, ...] = ()  #: the waiters for which it is reserved: "bob (pid 7)"
    used: str = ""  #: who uses it without a lease: "carol (pid 41, python3, 40 GiB)"
    barred: bool = False  #: it isn't taken because of that use
    kept: bool = False  #: it is kept free for others (--keep-free)


class GpuVerdict(NamedTuple):
    """Whether the job gets one GPU, and why."""

    gpu: str
    chosen: bool
    fits: bool  #: it has room for the job
    reason: str


class Explanation(NamedTuple):
    """Whether the job would start now, on which GPUs, and why."""

    verdicts: tuple[GpuVerdict, ...]
    gpus: tuple[str, ...]  #: where the job would start now; empty: it would wait
    summary: str
    failed: bool = False  #: no GPU is left to wait for


def explain(
    job: Job, cards: Sequence[Card], policy: PipePolicy, claims: Mapping[str, GpuClaims]
) -> Explanation:
    """What would happen to a job that is submitted now.

    Args:
        cards: what others leave of the GPUs.
        claims: who the others are, by the GPU's name.
    """
    decision = plan(Snapshot(0.0, cards, (), (job,)), policy)
    failed = all(card.name in claims and claims[card.name].fault for card in cards)
    gpus = decision.starts[0].gpus if decision.starts and not failed else ()
    capacity = Capacity(cards, ())
    fitting = capacity.fitting(job)
    verdicts = tuple(
        _verdict(job, card.name, gpus, fitting, capacity, claims.get(card.name, GpuClaims()))
        for card in cards
    )
    if failed:
        return Explanation(
            verdicts, (), "the job would fail: no GPU is left to run on", failed=True
        )
    if decision.hold is not None:
        return Explanation(
            verdicts, (), f"the job would wait: it {reasons.explain(decision.hold)}"
        )
    why = _why(job, gpus, fitting, capacity, order_of(policy).cards)
    summary = f"a job of {reasons.needs(job)} would start now on {_names(gpus)}: {why}"
    return Explanation(verdicts, gpus, summary)


def _verdict(
    job: Job,
    gpu: str,
    gpus: Sequence[str],
    fitting: Sequence[str],
    capacity: Capacity,
    claims: GpuClaims,
) -> GpuVerdict:
    if gpu not in fitting:
        return GpuVerdict(
            gpu, chosen=False, fits=False, reason=_against(job, gpu, capacity, claims)
        )
    others = _others(claims)
    parts = ["has room" if others else "free"]
    if job.memory_mib is not None:
        parts[0] += f" ({reasons.gib(capacity.read_memory()[gpu])} of memory)"
    parts += others
    if gpus and gpu not in gpus:
        parts.append("not needed")
    return GpuVerdict(gpu, gpu in gpus, fits=True, reason="; ".join(parts))


def _against(job: Job, gpu: str, capacity: Capacity, claims: GpuClaims) -> str:
    """Why the job doesn't fit on the GPU."""
    if claims.fault:
        return f"fault: {claims.fault}"
    if capacity.used[gpu] + job.units > GPU_UNITS:
        return "; ".join(_takers(claims)) or "has no room"
    free_mib = capacity.read_memory().get(gpu)
    if free_mib is None:
        return "nobody knows how much memory it has"
    need, free = reasons.gibs(job.memory_mib or 0, max(0, free_mib))
    return "; ".join([f"lacks memory: {free} free of the {need} asked", *_others(claims)])


def _takers(claims: GpuClaims) -> list[str]:
    """Why no share of the GPU is left."""
    used = [f"used by {claims.used}"] if claims.barred else []
    kept = ["kept free (--keep-free)"] if claims.kept else []
    return [f"leased by {holder}" for holder in claims.held] + _reserved(claims) + used + kept


def _others(claims: GpuClaims) -> list[str]:
    """With whom the job shares the GPU, or would."""
    used = [f"used by {claims.used}"] if claims.used else []
    return [f"shared with {holder}" for holder in claims.held] + _reserved(claims) + used


def _reserved(claims: GpuClaims) -> list[str]:
    return [f"reserved for {waiter}, who has waited longer" for waiter in claims.reserved]


def _why(
    job: Job, gpus: Sequence[str], fitting: Sequence[str], capacity: Capacity, rule: str
) -> str:
    """Why these GPUs and no others."""
    if len(fitting) == job.gpus:
        return "the only one with room" if job.gpus == 1 else "the only ones with room"
    if job.gpus > 1:
        connected = _connected(gpus, len(fitting), capacity.cards)
        if connected:
            return connected
    return _preferred(job, gpus, fitting, capacity, rule)


def _connected(gpus: Sequence[str], free: int, cards: Sequence[Card]) -> str:
    """How well they are connected; empty if nothing connects them."""
    links, near = connection(gpus, cards)
    pairs = math.comb(len(gpus), 2)
    if links:
        how = f"{links} direct {'link' if links == 1 else 'links'} between them"
    elif near:
        how = "on one NUMA node" if near == pairs else f"{near} of {pairs} pairs on one NUMA node"
    else:
        return ""
    best = "the best" if math.comb(free, len(gpus)) <= MAX_SETS else "a well"
    return f"{how}, {best} connected {'pair' if len(gpus) == 2 else 'set'} of {free} with room"


def _preferred(
    job: Job, gpus: Sequence[str], fitting: Sequence[str], capacity: Capacity, rule: str
) -> str:
    """Why the rule of placement prefers these GPUs."""
    by_memory = rule != "spread" and job.memory_mib is not None
    left = capacity.read_memory() if by_memory else capacity.used
    if len({left[gpu] for gpu in fitting}) == 1 and rule != "frag":
        first = "the first" if len(gpus) == 1 else f"the first {len(gpus)}"
        return f"{first} of {len(fitting)} that are alike"
    if rule == "spread":
        return f"the least loaded of {len(fitting)} with room"
    if rule == "pack":
        return "it leaves least free there (pack)"
    return "it leaves the most useful rest there"


def _names(gpus: Sequence[str]) -> str:
    return f"GPU {gpus[0]}" if len(gpus) == 1 else f"GPUs {','.join(gpus)}"


def holds(snapshot: Snapshot, policy: PipePolicy, decision: Plan) -> tuple[Hold, ...]:
    """Why each job waits that this plan doesn't start; empty if the plan holds no job."""
    if decision.hold is None:
        return ()
    first = decision.hold
    capacity = Capacity(snapshot.cards, (*snapshot.running, *decision.starts))
    started = {id(start.job) for start in decision.starts}
    own_reasons = order_of(policy).backfill
    reasons_to_wait: list[Hold] = []
    for job in snapshot.waiting:
        if id(job) in started:
            continue
        free = len(capacity.fitting(job))
        if job is first.job:
            reasons_to_wait.append(first)
        elif own_reasons and free < job.gpus:
            reasons_to_wait.append(hold_for_capacity(job, capacity, free))
        elif first.until_s is not None:
            reasons_to_wait.append(Hold(job, free, first.until_s))
        else:
            reasons_to_wait.append(Hold(job, free, behind=first.job))
    return tuple(reasons_to_wait)
