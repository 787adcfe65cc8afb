"""What the pipe and the queue need to see of jobs' memory on GPUs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from simple_gpu_scheduler.gpus.records import JobProcess


class MemoryMeter(Protocol):
    """Sees what jobs have on GPUs; the driver must be asked while they run."""

    def processes(self, jobs: Collection[int]) -> Sequence[JobProcess]:
        """What these jobs, by the ids of their first processes, have on any GPU now.

        Empty if nobody knows.
        """
        ...
