"""The reason of each job that waits, not just of the first; for those who ask."""

from __future__ import annotations

from simple_gpu_scheduler.policy.capacity import Room
from simple_gpu_scheduler.policy.dispatch import hold_for_room
from simple_gpu_scheduler.policy.model import Hold, PipePolicy, Plan, Snapshot
from simple_gpu_scheduler.policy.orders import order_of


def holds(snapshot: Snapshot, policy: PipePolicy, decided: Plan) -> tuple[Hold, ...]:
    """Why each job that this plan doesn't start waits; empty once nothing is started any more."""
    if decided.hold is None:
        return ()
    first = decided.hold
    room = Room(snapshot.cards, (*snapshot.running, *decided.starts))
    started = {id(start.job) for start in decided.starts}
    own_reasons = order_of(policy).backfill
    left = (job for job in snapshot.waiting if id(job) not in started)
    found: list[Hold] = []
    for job in left:
        free = len(room.fitting(job))
        if job is first.job:
            found.append(first)
        elif own_reasons and free < job.gpus:
            found.append(hold_for_room(job, room, free))
        elif first.until_s is not None:
            found.append(Hold(job, free, first.until_s))
        else:
            found.append(Hold(job, free, behind=first.job))
    return tuple(found)
