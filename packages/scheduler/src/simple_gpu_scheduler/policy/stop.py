"""When a running job is told to stop: TERM at its timeout, KILL after the grace."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from simple_gpu_scheduler.model import Running, Stop


def deadline_s(one: Running, grace_s: float) -> float | None:
    """When the next signal is due to this job; None if nothing is."""
    if one.killed:
        return None
    if one.stopped_s is not None:
        return one.stopped_s + grace_s
    if one.job.timeout_s is not None:
        return one.started_s + one.job.timeout_s
    return None


def stop(one: Running, grace_s: float) -> Stop:
    """The signal that is due."""
    if one.stopped_s is None:
        reason = f"timed out after {one.job.timeout_s:g} s"
        return Stop(one, signal.SIGTERM, reason)
    return Stop(one, signal.SIGKILL, f"still running {grace_s:g} s after TERM")


def due(
    running: Iterable[Running], now_s: float, grace_s: float
) -> tuple[tuple[Stop, ...], float | None]:
    """The stops due now, and the time of the next one after them."""
    stops: list[Stop] = []
    next_s: float | None = None
    for one in running:
        at_s = deadline_s(one, grace_s)
        if at_s is None:
            continue
        if at_s <= now_s:
            stops.append(stop(one, grace_s))
        elif next_s is None or at_s < next_s:
            next_s = at_s
    return tuple(stops), next_s
