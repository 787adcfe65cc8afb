"""Predicts when a waiting job will start, by the scheduler's own plans and a virtual clock."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.model import PipePolicy, Running, Snapshot, Start
from simple_gpu_scheduler.policy.plan import plan


class TimeRange(NamedTuple):
    """A predicted time, in seconds from now.

    `soonest_s` and `latest_s` assume that all jobs are as quick, or as slow, as a quarter of the
    similar jobs were.
    """

    likely_s: float
    soonest_s: float
    latest_s: float


#: The percentiles of runtimes behind a `TimeRange`.
LIKELY, QUICK, SLOW = 50, 25, 75


def starts_in_s(
    job: Job, snapshot: Snapshot, policy: PipePolicy, runtimes_s: Mapping[int, float]
) -> float | None:
    """Predict how soon a job starts, if no other job is submitted.

    Args:
        job: one of the waiting jobs of the snapshot.
        snapshot: the GPUs and jobs now.
        policy: how jobs are ordered and placed.
        runtimes_s: the whole runtime of each running and waiting job, by its `seq`.

    Returns:
        Seconds from the snapshot; None if the job can't start even after all others have ended.
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
        for running in snapshot.running:
            self._add_running(running, snapshot.now_s)

    def start_of(self, job: Job) -> float | None:
        now_s = self._snapshot.now_s
        while True:
            for start in self._plan(now_s):
                if start.job.seq == job.seq:
                    return now_s - self._snapshot.now_s
                self._add_running(Running(start.job, start.gpus, 0, now_s, now_s), now_s)
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

    def _add_running(self, running: Running, now_s: float) -> None:
        seq = running.job.seq
        self._running[seq] = running
        end_s = max(now_s, running.started_s + self._runtimes_s[seq])
        heapq.heappush(self._ends, (end_s, seq))
