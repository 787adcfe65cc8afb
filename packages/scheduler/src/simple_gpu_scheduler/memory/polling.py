"""When to ask the driver about the memory of running jobs: it has no events for that. Pure.

Memory changes most at the start of a job. So the older a job is, the longer the time to its next
poll.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.model import Running

#: The least time between two polls, however many jobs start.
LEAST_S = 0.25


class _Pace(NamedTuple):
    """Poll at the age `first_s`, then at twice the age, until polls are `every_s` apart."""

    first_s: float
    every_s: float


_MEASURED = _Pace(0.25, 1.0)
_OTHERS = _Pace(1.0, 30.0)


def is_measured(job: Job) -> bool:
    """True if the job asks for memory, or its need is to be measured."""
    return job.memory_mib is not None or job.auto_memory


def next_poll_s(running: Iterable[Running], polled_s: float) -> float | None:
    """When to poll these jobs next after a poll at `polled_s`; None: there are none."""
    times_s = [_next_poll_s(job, polled_s) for job in running]
    return max(polled_s + LEAST_S, min(times_s)) if times_s else None


def _next_poll_s(job: Running, polled_s: float) -> float:
    pace = _MEASURED if is_measured(job.job) else _OTHERS
    age_s = polled_s - job.started_s
    return job.started_s + max(pace.first_s, age_s + min(age_s, pace.every_s))
