"""Measure the GPU memory of running jobs, and find jobs that use a GPU which isn't theirs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.gpus.records import JobProcess
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.memory.polling import is_measured, next_poll_s
from simple_gpu_scheduler.memory.ports import MemoryMeter
from simple_gpu_scheduler.policy.fit import most_memory_mib
from simple_gpu_scheduler.policy.model import Card, Running

if TYPE_CHECKING:
    from simple_gpu_scheduler.memory.estimates import MemoryEstimates

#: A poll may come this much too early: sleeps end a little before their time.
_SLACK_S = 0.001


class MemoryMonitor:
    """What was measured of each running job. Jobs are known by the pid of their first process."""

    def __init__(self, meter: MemoryMeter, estimates: MemoryEstimates | None) -> None:
        """Ask nothing yet.

        Args:
            meter: reads the memory of jobs.
            estimates: learns what jobs need; None: nothing is learned.
        """
        self._meter = meter
        self._estimates = estimates
        self._polled_s = -math.inf
        self._peaks_mib: dict[int, int] = {}
        self._other_gpus: dict[int, tuple[str, ...]] = {}  #: GPUs that a job uses but wasn't given

    def poll(self, running: Mapping[int, Running], now_s: float) -> list[str]:
        """Measure the jobs, if it is time; returns warnings for the user."""
        due_s = next_poll_s(running.values(), self._polled_s)
        if due_s is None or now_s + _SLACK_S < due_s:
            return []
        self._polled_s = now_s
        self._forget_ended(running)
        by_job: dict[int, list[JobProcess]] = {}
        for process in self._meter.processes(running):
            by_job.setdefault(process.job_pid, []).append(process)
        warnings = [self._record(running[pid], processes) for pid, processes in by_job.items()]
        return [warning for warning in warnings if warning]

    def poll_in_s(self, running: Mapping[int, Running], now_s: float) -> float | None:
        """Seconds to the next poll; None if no job runs."""
        due_s = next_poll_s(running.values(), self._polled_s)
        return None if due_s is None else due_s - now_s

    def on_end(self, pid: int) -> tuple[int | None, tuple[str, ...]]:
        """Forget a job that has ended.

        Returns:
            The most memory that it had on one GPU, in MiB (None: not measured), and the GPUs that
            it used but wasn't given.
        """
        return self._peaks_mib.pop(pid, None), self._other_gpus.pop(pid, ())

    def learn(self, job: Job, peak_mib: int | None) -> bool:
        """Learn from a job that has ended; returns True if that changes what other jobs need."""
        return self._estimates is not None and self._estimates.learn(job, peak_mib)

    def with_estimate(self, job: Job, cards: Sequence[Card]) -> Job:
        """The job with the memory that it will need, if known; `cards` are all it may get."""
        if self._estimates is None:
            return job
        return self._estimates.with_estimate(job, most_memory_mib(cards, job.gpus))

    def _forget_ended(self, running: Mapping[int, Running]) -> None:
        """Forget jobs again that were measured after their `on_end`: stopped ones end slowly."""
        for records in (self._peaks_mib, self._other_gpus):
            for pid in records.keys() - running.keys():
                del records[pid]

    def _record(self, job: Running, processes: list[JobProcess]) -> str:
        """Record what a job uses; returns a warning at its first use of another GPU."""
        if is_measured(job.job):
            self._record_peak(job.pid, processes)
        strays = on_other_gpus(job.gpus, processes)
        if not strays:
            return ""
        earlier = self._other_gpus.get(job.pid, ())
        gpus = (process.gpu for process in strays)
        self._other_gpus[job.pid] = tuple(dict.fromkeys((*earlier, *gpus)))
        return "" if earlier else describe_wrong_gpu(job, strays[0])

    def _record_peak(self, pid: int, processes: list[JobProcess]) -> None:
        used_mib: dict[str, int] = {}
        for process in processes:
            if process.memory_mib is not None:
                used_mib[process.gpu] = used_mib.get(process.gpu, 0) + process.memory_mib
        if used_mib:
            self._peaks_mib[pid] = max(*used_mib.values(), self._peaks_mib.get(pid, 0))


def describe_wrong_gpu(job: Running, process: JobProcess) -> str:
    """The warning that a job uses a GPU which it wasn't given."""
    own = f"GPU {job.gpus[0]}" if len(job.gpus) == 1 else f"GPUs {', '.join(job.gpus)}"
    name = f" ({process.name})" if process.name else ""
    return (
        f"job {job.job.seq} was given {own}, but its process {process.pid}{name} uses "
        f"GPU {process.gpu}; does it set CUDA_VISIBLE_DEVICES itself?"
    )


def on_other_gpus(gpus: Collection[str], processes: Iterable[JobProcess]) -> list[JobProcess]:
    """The processes on none of these GPUs. A process on a MIG slice is on the whole GPU, too."""
    return [process for process in processes if {process.gpu, process.card}.isdisjoint(gpus)]
