"""The result of a simulation in numbers: makespan, waiting times, use of the GPUs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.sim.quantiles import percentile
from simple_gpu_scheduler.sim.simulate import SimulatedJob
from simple_gpu_scheduler.sim.trace import Task


class Metrics(NamedTuple):
    """The result of one policy on one trace."""

    policy: str
    jobs: int
    makespan_s: float  #: from the first submission to the last end
    mean_wait_s: float
    p95_wait_s: float
    max_wait_s: float
    idle_gpu_h: float  #: GPU hours without a job on the GPU, while a job waited
    packing: float  #: the mean share of a GPU in use that jobs had asked for, 0 to 1
    late: int  #: jobs that start later than under the baseline by more than the longest run


def measure(
    policy: str,
    ran: Sequence[SimulatedJob],
    gpus: int,
    memory_mib: int,
    baseline: Sequence[SimulatedJob],
) -> Metrics:
    """Compute the metrics of a simulation of at least one job.

    Args:
        policy: the name of the policy.
        ran: the simulated jobs.
        gpus: the number of GPUs.
        memory_mib: the memory of each GPU.
        baseline: the same jobs, simulated under the baseline.
    """
    waits_s = sorted(job.wait_s for job in ran)
    first_s = min(job.task.submit_s for job in ran)
    idle_s, busy_s = idle_and_busy_s(ran, gpus)
    requested_s = math.fsum(_requested_s(job.task, memory_mib) for job in ran)
    return Metrics(
        policy,
        len(ran),
        max(job.end_s for job in ran) - first_s,
        math.fsum(waits_s) / len(ran),
        percentile(waits_s, 95),
        waits_s[-1],
        idle_s / 3600,
        min(1.0, requested_s / busy_s) if busy_s else 0.0,
        late(ran, baseline),
    )


def late(ran: Sequence[SimulatedJob], baseline: Sequence[SimulatedJob]) -> int:
    """How many jobs start later than under the baseline by more than the longest runtime.

    Under the baseline no job passes another. A delay of up to one runtime is bad luck: when the
    turn of a job comes, the jobs on its GPUs may have just started. A job that is late was passed
    by several others. So if no job is late, none starves.
    """
    longest_s = max(job.task.runtime_s for job in ran)
    return sum(delay_s > longest_s for delay_s in delays_s(ran, baseline))


def delays_s(ran: Sequence[SimulatedJob], baseline: Sequence[SimulatedJob]) -> list[float]:
    """How many seconds later than under the baseline each job starts; negative: earlier."""
    start_s = {job.seq: job.start_s for job in baseline}
    return [job.start_s - start_s[job.seq] for job in ran]


def idle_and_busy_s(ran: Sequence[SimulatedJob], gpus: int) -> tuple[float, float]:
    """GPU seconds idle while a job waited, and GPU seconds in use by at least one job."""
    jobs_on: Counter[str] = Counter()
    waiting = busy = 0
    idle_s = busy_s = before_s = 0.0
    for at_s, change, job in sorted(_changes(ran), key=lambda event: event[0]):
        busy_s += busy * (at_s - before_s)
        if waiting:
            idle_s += (gpus - busy) * (at_s - before_s)
        before_s = at_s
        waiting += change
        for gpu in job.gpus if change <= 0 else ():
            was_busy = jobs_on[gpu] > 0
            jobs_on[gpu] += 1 if change else -1
            busy += (jobs_on[gpu] > 0) - was_busy
    return idle_s, busy_s


def _changes(ran: Sequence[SimulatedJob]) -> list[tuple[float, int, SimulatedJob]]:
    """When jobs are submitted, start and end, with the change of the number of waiting jobs.

    Sorting by time keeps a start before the end of the same job, also with a runtime of 0.
    """
    submissions = [(job.task.submit_s, 1, job) for job in ran]
    starts = [(job.start_s, -1, job) for job in ran]
    return submissions + starts + [(job.end_s, 0, job) for job in ran]


def _requested_s(task: Task, memory_mib: int) -> float:
    share = 1.0 if task.memory_mib is None else task.memory_mib / memory_mib
    return share * task.gpus * task.runtime_s
