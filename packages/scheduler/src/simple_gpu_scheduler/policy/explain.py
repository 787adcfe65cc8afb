"""Which GPUs a job would get now, and what speaks for or against each, in words for a person.

The plan decides; this tells what it looked at.
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
    """Who has something of a card, and what else bars it; in words, empty where there is none."""

    fault: str = ""  #: why it can't be used
    held: tuple[str, ...] = ()  #: who has leases of it: "anna's notebook (pid 41) since 14:02"
    reserved: tuple[str, ...] = ()  #: the waiters for which it is reserved: "bob (pid 7)"
    used: str = ""  #: who uses it without a lease: "carol (pid 41, python3, 40 GiB)"
    barred: bool = False  #: it isn't taken because of that use
    kept: bool = False  #: it is left to others although nobody has it


class GpuVerdict(NamedTuple):
    """What becomes of one GPU."""

    gpu: str
    chosen: bool
    fits: bool  #: it has room for the job
    reason: str


class Explanation(NamedTuple):
    """The whole answer."""

    verdicts: tuple[GpuVerdict, ...]
    gpus: tuple[str, ...]  #: those that the job would start on now; none: it would wait
    summary: str
    failed: bool = False  #: no GPU is left to wait for


def explain(
    job: Job, cards: Sequence[Card], policy: PipePolicy, known: Mapping[str, GpuClaims]
) -> Explanation:
    """What would happen to a job that came now.

    Args:
        cards: what others leave of the GPUs.
        known: who the others are, by the GPU's name.
    """
    decided = plan(Snapshot(0.0, cards, (), (job,)), policy)
    failed = all(card.name in known and known[card.name].fault for card in cards)
    gpus = decided.starts[0].gpus if decided.starts and not failed else ()
    room = Capacity(cards, ())
    fitting = room.fitting(job)
    verdicts = tuple(
        _verdict(job, card.name, gpus, fitting, room, known.get(card.name, GpuClaims()))
        for card in cards
    )
    if failed:
        return Explanation(verdicts, (), "it would fail: no GPU is left to run on", failed=True)
    if decided.hold is not None:
        return Explanation(verdicts, (), f"it would wait: {reasons.explain(decided.hold)}")
    why = _why(job, gpus, fitting, room, order_of(policy).cards)
    summary = f"a job of {reasons.needs(job)} would start now on {_names(gpus)}: {why}"
    return Explanation(verdicts, gpus, summary)


def _verdict(
    job: Job,
    gpu: str,
    gpus: Sequence[str],
    fitting: Sequence[str],
    room: Capacity,
    known: GpuClaims,
) -> GpuVerdict:
    if gpu not in fitting:
        return GpuVerdict(gpu, chosen=False, fits=False, reason=_against(job, gpu, room, known))
    others = _others(known)
    words = ["has room" if others else "free"]
    if job.memory_mib is not None:
        words[0] += f" ({reasons.gib(room.read_memory()[gpu])} of memory)"
    words += others
    if gpus and gpu not in gpus:
        words.append("not needed")
    return GpuVerdict(gpu, gpu in gpus, fits=True, reason="; ".join(words))


def _against(job: Job, gpu: str, room: Capacity, known: GpuClaims) -> str:
    if known.fault:
        return f"fault: {known.fault}"
    if room.used[gpu] + job.units > GPU_UNITS:
        return "; ".join(_takers(known)) or "has no room"
    free_mib = room.read_memory().get(gpu)
    if free_mib is None:
        return "nobody knows how much memory it has"
    need, free = reasons.gibs(job.memory_mib or 0, max(0, free_mib))
    return "; ".join([f"lacks memory: {free} free of the {need} asked", *_others(known)])


def _takers(known: GpuClaims) -> list[str]:
    """Why its units are gone."""
    used = [f"used by {known.used}"] if known.barred else []
    kept = ["kept free (--keep-free)"] if known.kept else []
    return [f"held by {one}" for one in known.held] + _reserved(known) + used + kept


def _others(known: GpuClaims) -> list[str]:
    """Whom the job meets there, or would."""
    used = [f"used by {known.used}"] if known.used else []
    return [f"shared with {one}" for one in known.held] + _reserved(known) + used


def _reserved(known: GpuClaims) -> list[str]:
    return [f"reserved for {waiter}, who has waited longer" for waiter in known.reserved]


def _why(job: Job, gpus: Sequence[str], fitting: Sequence[str], room: Capacity, rule: str) -> str:
    """Why these GPUs and no others."""
    if len(fitting) == job.gpus:
        return "the only one with room" if job.gpus == 1 else "the only ones with room"
    if job.gpus > 1:
        connected = _connected(gpus, len(fitting), room.cards)
        if connected:
            return connected
    return _preferred(job, gpus, fitting, room, rule)


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
    job: Job, gpus: Sequence[str], fitting: Sequence[str], room: Capacity, rule: str
) -> str:
    """What the order of preference goes by, where the GPUs differ in that."""
    by_memory = rule != "spread" and job.memory_mib is not None
    left = room.read_memory() if by_memory else room.used
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


def holds(snapshot: Snapshot, policy: PipePolicy, decided: Plan) -> tuple[Hold, ...]:
    """Why each job that this plan doesn't start waits; empty once nothing is started any more."""
    if decided.hold is None:
        return ()
    first = decided.hold
    room = Capacity(snapshot.cards, (*snapshot.running, *decided.starts))
    started = {id(start.job) for start in decided.starts}
    own_reasons = order_of(policy).backfill
    left = (job for job in snapshot.waiting if id(job) not in started)
    found: list[Hold] = []
    for job in left:
        free = len(room.fitting(job))
        if job is first.job:
            found.append(first)
        elif own_reasons and free < job.gpus:
            found.append(hold_for_capacity(job, room, free))
        elif first.until_s is not None:
            found.append(Hold(job, free, first.until_s))
        else:
            found.append(Hold(job, free, behind=first.job))
    return tuple(found)
