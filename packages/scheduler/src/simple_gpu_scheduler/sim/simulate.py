"""The simulation: submissions and ends of jobs in the order of time, with a plan after each.

The plans are made by `policy.plan`, as for real jobs. Jobs that share a GPU run as fast as alone,
because a trace does not say how much they slow each other down.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job, share_units
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Running, Snapshot, Start
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.sim.trace import Task

#: The units of a job that shares a GPU. They are so few that only memory limits how many share it.
PACKED_UNITS = share_units(64)

#: The baseline: whole GPUs, first come, first served.
EXCLUSIVE = "fifo-exclusive"


class SimulatedJob(NamedTuple):
    """When and where a job ran."""

    seq: int  #: the number of the job in the trace, from 1
    task: Task
    start_s: float
    gpus: tuple[str, ...]

    @property
    def end_s(self) -> float:
        """When the job ended."""
        return self.start_s + self.task.runtime_s

    @property
    def wait_s(self) -> float:
        """The time from submission to start."""
        return self.start_s - self.task.submit_s


def simulate(
    tasks: Sequence[Task],
    cards: Sequence[Card],
    order: str,
    *,
    runtimes_known: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> list[SimulatedJob]:
    """Simulate the jobs on these GPUs.

    Args:
        tasks: the jobs in the order of their submission; each must fit on the GPUs.
        cards: the GPUs.
        order: one of `policy.orders.ORDERS`, or `EXCLUSIVE`.
        runtimes_known: tell the policy the true runtimes, as `Job.expected_s`.
        on_progress: called with the number of started jobs after each plan.

    Returns:
        All jobs in the order of their starts.
    """
    return _Simulation(tasks, cards, order, runtimes_known).run(on_progress or (lambda _: None))


def job_of(task: Task, seq: int, *, exclusive: bool, runtimes_known: bool) -> Job:
    """Make the job that the scheduler would see."""
    expected_s = task.runtime_s if runtimes_known else None
    if exclusive or task.memory_mib is None:
        return Job(seq, b"", task.gpus, expected_s=expected_s)
    return Job(
        seq, b"", task.gpus, PACKED_UNITS, memory_mib=task.memory_mib, expected_s=expected_s
    )


class _Simulation:
    def __init__(
        self, tasks: Sequence[Task], cards: Sequence[Card], order: str, runtimes_known: bool
    ) -> None:
        exclusive = order == EXCLUSIVE
        self._tasks = tasks
        self._jobs = [
            job_of(task, seq, exclusive=exclusive, runtimes_known=runtimes_known)
            for seq, task in enumerate(tasks, 1)
        ]
        self._cards = cards
        self._policy = PipePolicy(order="fifo" if exclusive else order)
        self._submitted = 0
        self._waiting: list[Job] = []
        self._running: dict[int, Running] = {}
        self._ends: list[tuple[float, int]] = []
        self._started: list[SimulatedJob] = []

    def run(self, on_progress: Callable[[int], None]) -> list[SimulatedJob]:
        while self._submitted < len(self._tasks) or self._ends:
            now_s = self._next_event_s()
            self._end_jobs(now_s)
            self._submit_jobs(now_s)
            if self._waiting:
                self._plan(now_s)
                on_progress(len(self._started))
        if self._waiting:
            raise AssertionError(f"job {self._waiting[0].seq} is never started")
        return self._started

    def _next_event_s(self) -> float:
        if self._submitted == len(self._tasks):
            return self._ends[0][0]
        submit_s = self._tasks[self._submitted].submit_s
        return min(submit_s, self._ends[0][0]) if self._ends else submit_s

    def _end_jobs(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            _, seq = heapq.heappop(self._ends)
            del self._running[seq]

    def _submit_jobs(self, now_s: float) -> None:
        while (
            self._submitted < len(self._tasks) and self._tasks[self._submitted].submit_s <= now_s
        ):
            self._waiting.append(self._jobs[self._submitted])
            self._submitted += 1

    def _plan(self, now_s: float) -> None:
        snapshot = Snapshot(now_s, self._cards, self._running.values(), self._waiting)
        starts = plan(snapshot, self._policy).starts
        index = 0
        for start in starts:  # in the order of the waiting jobs
            while self._waiting[index] is not start.job:
                index += 1
            del self._waiting[index]
            self._start(start, now_s)

    def _start(self, start: Start, now_s: float) -> None:
        job, gpus = start
        task = self._tasks[job.seq - 1]
        self._running[job.seq] = Running(job, gpus, job.seq, now_s, now_s)
        heapq.heappush(self._ends, (now_s + task.runtime_s, job.seq))
        self._started.append(SimulatedJob(job.seq, task, now_s, gpus))
