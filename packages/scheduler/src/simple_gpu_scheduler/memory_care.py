"""What the loop does about jobs' GPU memory: measure it, learn from it, see what lacked it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from simple_gpu_scheduler.model import Job, Running
from simple_gpu_scheduler.ports import MemoryMeter

if TYPE_CHECKING:
    from simple_gpu_scheduler.policy.learned import LearnedMemory

#: How often jobs' GPU memory is measured, where it is.
_EVERY_S = 1.0


class MemoryCare:
    """Of those jobs that said what memory they need, or of which that is to be found out."""

    def __init__(self, meter: MemoryMeter, learned: LearnedMemory | None) -> None:
        """`learned` is what jobs were seen to need, where that is to be found out."""
        self._meter = meter
        self._learned = learned

    def sample(self, running: Mapping[int, Running], now_s: float) -> None:
        """Measure, if it is time."""
        self._meter.sample(_measured(running), now_s)

    def every_s(self, running: Mapping[int, Running]) -> float | None:
        """How soon to measure again; None if there is nothing to measure."""
        return _EVERY_S if _measured(running) else None

    def peak_mib(self, pid: int) -> int | None:
        """The most that an ended job was seen to have on one GPU, if it was measured."""
        return self._meter.peak_mib(pid)

    def learn(self, job: Job, peak_mib: int | None) -> bool:
        """Take note of a job that has ended; True if that changes what others ask for."""
        return self._learned is not None and self._learned.learn(job, peak_mib)

    def asked(self, job: Job) -> Job:
        """The job with what it is known to need."""
        return job if self._learned is None else self._learned.asked(job)


def _measured(running: Mapping[int, Running]) -> list[int]:
    return [
        pid
        for pid, one in running.items()
        if one.job.memory_mib is not None or one.job.auto_memory
    ]
