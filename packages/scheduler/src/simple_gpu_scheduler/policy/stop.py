"""When a running job must stop: TERM at its timeout or the run's end, KILL after the grace."""

from __future__ import annotations

import signal

from simple_gpu_scheduler.model import Phase, Running, Snapshot, Stop


def due(snapshot: Snapshot, grace_s: float) -> tuple[tuple[Stop, ...], float | None]:
    """The stops due now, and the time of the next one after them."""
    stops: list[Stop] = []
    next_s: float | None = None
    for one in snapshot.running:
        stop = _at_the_end(one, snapshot.phase)
        at_s = None if stop else _deadline_s(one, grace_s)
        if at_s is not None and at_s <= snapshot.now_s:
            stop = _overdue(one, grace_s)
        elif at_s is not None:
            next_s = at_s if next_s is None else min(next_s, at_s)
        if stop:
            stops.append(stop)
    return tuple(stops), next_s


def _at_the_end(one: Running, phase: Phase) -> Stop | None:
    """The signal that the phase of the run asks for."""
    if phase is Phase.KILLING and not one.killed:
        return Stop(one, signal.SIGKILL)
    if phase is Phase.ENDING and one.stopped_s is None:
        return Stop(one, signal.SIGTERM)
    return None


def _deadline_s(one: Running, grace_s: float) -> float | None:
    """When the next signal is due to this job; None if nothing is."""
    if one.killed:
        return None
    if one.stopped_s is not None:
        return one.stopped_s + grace_s
    return None if one.job.timeout_s is None else one.started_s + one.job.timeout_s


def _overdue(one: Running, grace_s: float) -> Stop:
    if one.stopped_s is None:
        reason = f"timed out after {one.job.timeout_s:g} s"
        return Stop(one, signal.SIGTERM, reason, timed_out=True)
    return Stop(one, signal.SIGKILL, f"still runs {grace_s:g} s after TERM; killing it")
