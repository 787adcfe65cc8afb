"""What a simulation achieved: how long it took, how long jobs waited, how well GPUs were used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.sim.quantiles import percentile
from simple_gpu_scheduler.sim.simulate import Ran
from simple_gpu_scheduler.sim.trace import Task


class Metrics(NamedTuple):
    """Of one policy on one trace."""

    policy: str
    jobs: int
    makespan_s: float  #: from the first submission to the last end
    mean_wait_s: float
    p95_wait_s: float
    max_wait_s: float
    idle_gpu_h: float  #: GPUs that nothing ran on while a job waited
    packing: float  #: of GPUs that something ran on: the mean part that jobs asked for
    late: int  #: jobs that start later than under the baseline, by more than the longest run


def measure(
    policy: str, ran: Sequence[Ran], gpus: int, memory_mib: int, baseline: Sequence[Ran]
) -> Metrics:
    """Sum up a simulation of at least one job, beside one of the same jobs under the baseline."""
    waits_s = sorted(one.wait_s for one in ran)
    first_s = min(one.task.submit_s for one in ran)
    idle_s, busy_s = idle_and_busy_s(ran, gpus)
    asked_s = math.fsum(_asked_s(one.task, memory_mib) for one in ran)
    return Metrics(
        policy,
        len(ran),
        max(one.end_s for one in ran) - first_s,
        math.fsum(waits_s) / len(ran),
        percentile(waits_s, 95),
        waits_s[-1],
        idle_s / 3600,
        min(1.0, asked_s / busy_s) if busy_s else 0.0,
        late(ran, baseline),
    )


def late(ran: Sequence[Ran], baseline: Sequence[Ran]) -> int:
    """How many jobs start later than in their turn, by more than the longest of them runs.

    Their turn is their start under the baseline, where none ever passes another. One run more is
    luck: whoever runs when the turn comes may run so long, and nobody knew. To starve is to be
    passed without end, so where nobody is late nobody starves; who is late was passed by several.
    """
    longest_s = max(one.task.runtime_s for one in ran)
    return sum(delay_s > longest_s for delay_s in delays_s(ran, baseline))


def delays_s(ran: Sequence[Ran], baseline: Sequence[Ran]) -> list[float]:
    """How much later than under the baseline each job starts; below 0: sooner."""
    start_s = {one.seq: one.start_s for one in baseline}
    return [one.start_s - start_s[one.seq] for one in ran]


def idle_and_busy_s(ran: Sequence[Ran], gpus: int) -> tuple[float, float]:
    """GPU time that was idle while a job waited, and GPU time in use by at least one job."""
    jobs_on: Counter[str] = Counter()
    waiting = busy = 0
    idle_s = busy_s = before_s = 0.0
    for at_s, waits, job in sorted(_changes(ran), key=lambda change: change[0]):
        busy_s += busy * (at_s - before_s)
        if waiting:
            idle_s += (gpus - busy) * (at_s - before_s)
        before_s = at_s
        waiting += waits
        for gpu in job.gpus if waits <= 0 else ():
            was = jobs_on[gpu] > 0
            jobs_on[gpu] += 1 if waits else -1
            busy += (jobs_on[gpu] > 0) - was
    return idle_s, busy_s


def _changes(ran: Sequence[Ran]) -> list[tuple[float, int, Ran]]:
    """When jobs come (+1 waits), start (-1) and end (0); zero runtimes end after their start."""
    comes = [(one.task.submit_s, 1, one) for one in ran]
    starts = [(one.start_s, -1, one) for one in ran]
    return comes + starts + [(one.end_s, 0, one) for one in ran]


def _asked_s(task: Task, memory_mib: int) -> float:
    share = 1.0 if task.memory_mib is None else task.memory_mib / memory_mib
    return share * task.gpus * task.runtime_s
