"""When a job that waits will probably start: the scheduler's own plans, under a virtual clock."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.model import PipePolicy, Running, Snapshot, Start
from simple_gpu_scheduler.policy.plan import plan


class Span(NamedTuple):
    """A time to come, in seconds from now: likely, and if jobs are as quick or slow as a quarter
    of those like them.
    """

    likely_s: float
    soonest_s: float
    latest_s: float


#: Of how long jobs ran: the percentiles behind a span.
LIKELY, QUICK, SLOW = 50, 25, 75


def starts_in_s(
    job: Job, snapshot: Snapshot, policy: PipePolicy, runtimes_s: Mapping[int, float]
) -> float | None:
    """How soon the job starts, if nothing comes that isn't there now.

    Args:
        job: one of those that wait.
        runtimes_s: how long each job runs in all, by its number.

    Returns:
        Seconds from the snapshot; None if it doesn't start although all that run have ended.
    """
    return _Forecast(snapshot, policy, runtimes_s).start_of(job)


class _Forecast:
    def __init__(
        self, snapshot: Snapshot, policy: PipePolicy, runtimes_s: Mapping[int, float]
    ) -> None:
        self._snapshot = snapshot
        self._policy = policy
        self._runtimes_s = runtimes_s
        self._running: dict[int, Running] = {}
        self._waiting = list(snapshot.waiting)
        self._ends: list[tuple[float, int]] = []
        for one in snapshot.running:
            self._run(one, snapshot.now_s)

    def start_of(self, job: Job) -> float | None:
        now_s = self._snapshot.now_s
        while True:
            for start in self._plan(now_s):
                if start.job.seq == job.seq:
                    return now_s - self._snapshot.now_s
                self._run(Running(start.job, start.gpus, 0, now_s, now_s), now_s)
            if not self._ends:
                return None
            now_s = self._ends[0][0]
            while self._ends and self._ends[0][0] <= now_s:
                del self._running[heapq.heappop(self._ends)[1]]

    def _plan(self, now_s: float) -> tuple[Start, ...]:
        snapshot = self._snapshot._replace(
            now_s=now_s, running=self._running.values(), waiting=self._waiting
        )
        starts = plan(snapshot, self._policy).starts
        started = {start.job.seq for start in starts}
        self._waiting = [job for job in self._waiting if job.seq not in started]
        return starts

    def _run(self, one: Running, now_s: float) -> None:
        self._running[one.job.seq] = one
        end_s = max(now_s, one.started_s + self._runtimes_s[one.job.seq])
        heapq.heappush(self._ends, (end_s, one.job.seq))
