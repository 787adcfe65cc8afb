"""When to ask the driver about running jobs, which tells of nothing by itself.

Most goes on at the start of a job, so the looks at it are the rarer the older it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.model import Running

#: Between any two looks, however many jobs start.
LEAST_S = 0.25


class _Pace(NamedTuple):
    """Looks at the age of `first_s`, twice that, and so on until they are `every_s` apart."""

    first_s: float
    every_s: float


_MEASURED = _Pace(0.25, 1.0)
_OTHERS = _Pace(1.0, 30.0)


def is_measured(job: Job) -> bool:
    """True if the job says what memory it needs, or that is to be found out."""
    return job.memory_mib is not None or job.auto_memory


def next_look_s(running: Iterable[Running], looked_s: float) -> float | None:
    """When to look at these jobs after a look at `looked_s`; None: there are none."""
    times = [_next_s(one, looked_s) for one in running]
    return max(looked_s + LEAST_S, min(times)) if times else None


def _next_s(one: Running, looked_s: float) -> float:
    pace = _MEASURED if is_measured(one.job) else _OTHERS
    age_s = looked_s - one.started_s
    return one.started_s + max(pace.first_s, age_s + min(age_s, pace.every_s))
