"""The simulation: arrivals and ends in the order of time, and a plan after each.

It calls the very `plan` that runs real jobs. What it can't know: jobs that share a GPU are taken
to run as long as alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job, share_units
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Running, Snapshot, Start
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.sim.trace import Task

#: What a job that packs by memory holds, so that only memory limits how many share a card.
PACKED_UNITS = share_units(64)

#: The baseline: whole GPUs, first come, first served.
EXCLUSIVE = "fifo-exclusive"


class Ran(NamedTuple):
    """What became of a job."""

    seq: int  #: its place in the trace, from 1
    task: Task
    start_s: float
    gpus: tuple[str, ...]

    @property
    def end_s(self) -> float:
        """When it ended."""
        return self.start_s + self.task.runtime_s

    @property
    def wait_s(self) -> float:
        """From its submission to its start."""
        return self.start_s - self.task.submit_s


def simulate(
    tasks: Sequence[Task],
    cards: Sequence[Card],
    order: str,
    *,
    runtimes_known: bool = False,
    tell: Callable[[int], None] | None = None,
) -> list[Ran]:
    """Run the jobs on the cards; what became of each, in the order of the starts.

    Args:
        tasks: in the order of their submission; each must fit on the cards.
        order: one of `policy.orders.ORDERS`, or `EXCLUSIVE`.
        runtimes_known: jobs come with their true runtimes, as `Job.expected_s`.
        tell: hears now and then how many have started.
    """
    return _Simulation(tasks, cards, order, runtimes_known).run(tell or (lambda _: None))


def job_of(task: Task, seq: int, *, exclusive: bool, runtimes_known: bool) -> Job:
    """The job as the scheduler sees it."""
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
        self._arrived = 0
        self._waiting: list[Job] = []
        self._running: dict[int, Running] = {}
        self._ends: list[tuple[float, int]] = []
        self._ran: list[Ran] = []

    def run(self, tell: Callable[[int], None]) -> list[Ran]:
        while self._arrived < len(self._tasks) or self._ends:
            now_s = self._next_s()
            self._end(now_s)
            self._arrive(now_s)
            if self._waiting:
                self._plan(now_s)
                tell(len(self._ran))
        if self._waiting:
            raise AssertionError(f"job {self._waiting[0].seq} is never started")
        return self._ran

    def _next_s(self) -> float:
        if self._arrived == len(self._tasks):
            return self._ends[0][0]
        arrival_s = self._tasks[self._arrived].submit_s
        return min(arrival_s, self._ends[0][0]) if self._ends else arrival_s

    def _end(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            _, seq = heapq.heappop(self._ends)
            del self._running[seq]

    def _arrive(self, now_s: float) -> None:
        while self._arrived < len(self._tasks) and self._tasks[self._arrived].submit_s <= now_s:
            self._waiting.append(self._jobs[self._arrived])
            self._arrived += 1

    def _plan(self, now_s: float) -> None:
        snapshot = Snapshot(now_s, self._cards, self._running.values(), self._waiting)
        starts = plan(snapshot, self._policy).starts
        place = 0
        for start in starts:  # they come in the order of the queue
            while self._waiting[place] is not start.job:
                place += 1
            del self._waiting[place]
            self._start(start, now_s)

    def _start(self, start: Start, now_s: float) -> None:
        job, gpus = start
        task = self._tasks[job.seq - 1]
        self._running[job.seq] = Running(job, gpus, job.seq, now_s, now_s)
        heapq.heappush(self._ends, (now_s + task.runtime_s, job.seq))
        self._ran.append(Ran(job.seq, task, now_s, gpus))
