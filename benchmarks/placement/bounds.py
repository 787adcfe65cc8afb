"""What no policy can beat, whatever it knows: a measure for benchmarks/PLACEMENT.md."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from simple_gpu_scheduler.sim.trace import Task


def area_s(task: Task, memory_mib: int) -> float:
    """GPU time that a job takes even if it is packed without a gap."""
    share = 1.0 if task.memory_mib is None else task.memory_mib / memory_mib
    return share * task.gpus * task.runtime_s


def end_s(tasks: Sequence[Task], gpus: int, memory_mib: int) -> float:
    """When the last job ends at best: all that is asked for takes so long, or that one job."""
    return max(
        math.fsum(area_s(task, memory_mib) for task in tasks) / gpus,
        max(task.submit_s + task.runtime_s for task in tasks),
    )


def mean_wait_s(tasks: Sequence[Task], gpus: int, memory_mib: int) -> float:
    """What jobs wait on average at best; from most traces it can't tell more than 0.

    On one machine as fast as all GPUs, where jobs may be cut anywhere, the least sum of their mean
    busy times is had by the smallest first (Goemans, SODA 1997). A real schedule is one of those,
    and there a job's mean busy time is its start and half its runtime.
    """
    busy_s = _least_mean_busy_s([(t.submit_s, area_s(t, memory_mib) / gpus) for t in tasks])
    own_s = math.fsum(task.submit_s + task.runtime_s / 2 for task in tasks)
    return max(0.0, (busy_s - own_s) / len(tasks))


def _least_mean_busy_s(jobs: Sequence[tuple[float, float]]) -> float:
    """The sum of mean busy times, smallest job first; jobs are (submit_s, work_s), in order."""
    left_s = [work_s for _, work_s in jobs]
    ready: list[tuple[float, int]] = []
    total_s = now_s = 0.0
    come = 0
    while ready or come < len(jobs):
        if not ready:
            now_s = max(now_s, jobs[come][0])
        while come < len(jobs) and jobs[come][0] <= now_s:
            heapq.heappush(ready, (jobs[come][1], come))
            come += 1
        work_s, job = ready[0]
        next_s = jobs[come][0] if come < len(jobs) else math.inf
        run_s = min(left_s[job], next_s - now_s)
        total_s += (now_s + run_s / 2) * (run_s / work_s if work_s else 1.0)
        now_s += run_s
        left_s[job] -= run_s
        if left_s[job] <= 1e-9 * work_s:
            heapq.heappop(ready)
    return total_s
