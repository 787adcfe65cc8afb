"""When a running job must stop: TERM at its timeout or the run's end, KILL after the grace."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from simple_gpu_scheduler.policy.model import Phase, Running, Snapshot, Stop


def due(snapshot: Snapshot, grace_s: float) -> tuple[tuple[Stop, ...], float | None]:
    """The stops due now, and the time of the next one after them."""
    running = snapshot.running if snapshot.phase >= Phase.ENDING else _timed(snapshot.running)
    if not running:
        return (), None
    stops: list[Stop] = []
    next_s: list[float] = []
    for one in running:
        stop = _at_the_end(one, snapshot.phase) or _overdue(one, snapshot.now_s, grace_s)
        if stop is None:
            next_s += _deadline_s(one, grace_s)
        else:
            stops.append(stop)
            if stop.signal == signal.SIGTERM:
                next_s.append(snapshot.now_s + grace_s)
    return tuple(stops), min(next_s, default=None)


def _timed(running: Iterable[Running]) -> list[Running]:
    """Jobs with a deadline; mostly there are none."""
    return [one for one in running if one.stopped_s is not None or one.job.timeout_s is not None]


def _at_the_end(one: Running, phase: Phase) -> Stop | None:
    """The signal that the phase of the run asks for."""
    if phase is Phase.KILLING and not one.killed:
        return Stop(one, signal.SIGKILL)
    if phase is Phase.ENDING and one.stopped_s is None:
        return Stop(one, signal.SIGTERM)
    return None


def _deadline_s(one: Running, grace_s: float) -> list[float]:
    """When the next signal is due to this job, if one is."""
    if one.killed:
        return []
    if one.stopped_s is not None:
        return [one.stopped_s + grace_s]
    return [] if one.job.timeout_s is None else [one.started_s + one.job.timeout_s]


def _overdue(one: Running, now_s: float, grace_s: float) -> Stop | None:
    if not any(at_s <= now_s for at_s in _deadline_s(one, grace_s)):
        return None
    if one.stopped_s is None:
        reason = f"timed out after {one.job.timeout_s:g} s"
        return Stop(one, signal.SIGTERM, reason, timed_out=True)
    return Stop(one, signal.SIGKILL, f"still runs {grace_s:g} s after TERM; killing it")
