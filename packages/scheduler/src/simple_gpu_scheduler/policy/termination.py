"""Which running jobs must stop: TERM at a timeout or the end of the run, KILL after the grace."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from simple_gpu_scheduler.policy.model import Phase, Running, Snapshot, Stop


def due(snapshot: Snapshot, grace_s: float) -> tuple[tuple[Stop, ...], float | None]:
    """The stops that are due now, and the time of the next one; None if there is no next one."""
    running = snapshot.running if snapshot.phase >= Phase.ENDING else _timed(snapshot.running)
    if not running:
        return (), None
    stops: list[Stop] = []
    next_s: list[float] = []
    for job in running:
        stop = _stop_at_end(job, snapshot.phase) or _stop_overdue(job, snapshot.now_s, grace_s)
        if stop is None:
            next_s += _deadline_s(job, grace_s)
        else:
            stops.append(stop)
            if stop.signal == signal.SIGTERM:
                next_s.append(snapshot.now_s + grace_s)
    return tuple(stops), min(next_s, default=None)


def _timed(running: Iterable[Running]) -> list[Running]:
    """The jobs with a deadline; usually there are none."""
    return [job for job in running if job.stopped_s is not None or job.job.timeout_s is not None]


def _stop_at_end(running: Running, phase: Phase) -> Stop | None:
    """The stop that the phase of the run asks for."""
    if phase is Phase.KILLING and not running.killed:
        return Stop(running, signal.SIGKILL)
    if phase is Phase.ENDING and running.stopped_s is None:
        return Stop(running, signal.SIGTERM)
    return None


def _deadline_s(running: Running, grace_s: float) -> list[float]:
    """When the job's next signal is due; empty if none is."""
    if running.killed:
        return []
    if running.stopped_s is not None:
        return [running.stopped_s + grace_s]
    return [] if running.job.timeout_s is None else [running.started_s + running.job.timeout_s]


def _stop_overdue(running: Running, now_s: float, grace_s: float) -> Stop | None:
    """The stop of a job that is past its deadline."""
    if not any(at_s <= now_s for at_s in _deadline_s(running, grace_s)):
        return None
    if running.stopped_s is None:
        reason = f"timed out after {running.job.timeout_s:g} s"
        return Stop(running, signal.SIGTERM, reason, timed_out=True)
    return Stop(running, signal.SIGKILL, f"still runs {grace_s:g} s after TERM; killing it")
