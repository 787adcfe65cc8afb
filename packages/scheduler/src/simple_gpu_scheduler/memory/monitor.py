"""What the loop does about jobs on GPUs: measure their memory, learn from it, find strays."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.gpus.records import JobProcess
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.memory.polling import is_measured, next_look_s
from simple_gpu_scheduler.memory.ports import MemoryMeter
from simple_gpu_scheduler.policy.fit import most_memory_mib
from simple_gpu_scheduler.policy.model import Card, Running

if TYPE_CHECKING:
    from simple_gpu_scheduler.memory.estimates import MemoryEstimates

#: Clocks and sleeps don't agree to the last digit.
_SLACK_S = 0.001


class MemoryMonitor:
    """Keeps what was seen of each running job."""

    def __init__(self, meter: MemoryMeter, learned: MemoryEstimates | None) -> None:
        """`learned` is what jobs were seen to need, where that is to be found out."""
        self._meter = meter
        self._learned = learned
        self._looked_s = -math.inf
        self._peaks_mib: dict[int, int] = {}
        self._others: dict[int, tuple[str, ...]] = {}  #: GPUs that aren't the job's

    def poll(self, running: Mapping[int, Running], now_s: float) -> list[str]:
        """Look at the jobs, if it is time; returns what the user should know."""
        due_s = next_look_s(running.values(), self._looked_s)
        if due_s is None or now_s + _SLACK_S < due_s:
            return []
        self._looked_s = now_s
        self._forget_but(running)
        by_job: dict[int, list[JobProcess]] = {}
        for process in self._meter.processes(running):
            by_job.setdefault(process.job_pid, []).append(process)
        news = [self._see(running[pid], found) for pid, found in by_job.items()]
        return [text for text in news if text]

    def poll_in_s(self, running: Mapping[int, Running], now_s: float) -> float | None:
        """How soon to look again; None if there is nothing to see."""
        due_s = next_look_s(running.values(), self._looked_s)
        return None if due_s is None else due_s - now_s

    def ended(self, pid: int) -> tuple[int | None, tuple[str, ...]]:
        """The most that a job was seen to have on one GPU, if measured, and GPUs not its own."""
        return self._peaks_mib.pop(pid, None), self._others.pop(pid, ())

    def learn(self, job: Job, peak_mib: int | None) -> bool:
        """Take note of a job that has ended; True if that changes what others ask for."""
        return self._learned is not None and self._learned.learn(job, peak_mib)

    def asked(self, job: Job, cards: Sequence[Card]) -> Job:
        """The job with what it is known to need; `cards` are those that it may get."""
        if self._learned is None:
            return job
        return self._learned.asked(job, most_memory_mib(cards, job.gpus))

    def _forget_but(self, running: Mapping[int, Running]) -> None:
        """A stopped job is seen after its end, as long as its process tree lives."""
        for seen in (self._peaks_mib, self._others):
            for pid in seen.keys() - running.keys():
                del seen[pid]

    def _see(self, one: Running, processes: list[JobProcess]) -> str:
        if is_measured(one.job):
            self._measure(one.pid, processes)
        found = elsewhere(one.gpus, processes)
        if not found:
            return ""
        known = self._others.get(one.pid, ())
        self._others[one.pid] = tuple(dict.fromkeys((*known, *(each.gpu for each in found))))
        return "" if known else not_its_gpu(one, found[0])

    def _measure(self, pid: int, processes: list[JobProcess]) -> None:
        used_mib: dict[str, int] = {}
        for one in processes:
            if one.memory_mib is not None:
                used_mib[one.gpu] = used_mib.get(one.gpu, 0) + one.memory_mib
        if used_mib:
            self._peaks_mib[pid] = max(*used_mib.values(), self._peaks_mib.get(pid, 0))


def not_its_gpu(one: Running, process: JobProcess) -> str:
    """That a job uses a GPU that it wasn't given."""
    own = f"GPU {one.gpus[0]}" if len(one.gpus) == 1 else f"GPUs {', '.join(one.gpus)}"
    name = f" ({process.name})" if process.name else ""
    return (
        f"job {one.job.seq} was given {own}, but its process {process.pid}{name} uses "
        f"GPU {process.gpu}; does it set CUDA_VISIBLE_DEVICES itself?"
    )


def elsewhere(gpus: Collection[str], processes: Iterable[JobProcess]) -> list[JobProcess]:
    """Those of a job's processes that use another GPU than these; a slice is part of its card."""
    return [one for one in processes if one.gpu not in gpus and one.card not in gpus]
