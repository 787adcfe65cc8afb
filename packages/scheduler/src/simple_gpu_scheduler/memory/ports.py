"""What the memory monitor needs of the driver."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from simple_gpu_scheduler.gpus.records import JobProcess


class MemoryMeter(Protocol):
    """Reads the memory that jobs use on GPUs."""

    def processes(self, jobs: Collection[int]) -> Sequence[JobProcess]:
        """The processes of these jobs that have memory on any GPU now; empty if unknown.

        Args:
            jobs: the pids of the jobs' first processes. All processes below them belong to them.
        """
        ...
