"""Public fakes: the pipe, its GPUs and its leases, without processes and under a virtual clock.

They pass the same contract tests as the real parts, so that what holds with them holds for real.
"""

from __future__ import annotations

from simple_gpu_scheduler.testing.gpus import FakeDevices
from simple_gpu_scheduler.testing.leases import MemoryLeaseStore, MemoryMachine
from simple_gpu_scheduler.testing.pipe import (
    FakeRunner,
    FakeWait,
    FreeLeases,
    ListSource,
    ManualClock,
    Recorder,
    script_of,
)

__all__ = [
    "FakeDevices",
    "FakeRunner",
    "FakeWait",
    "FreeLeases",
    "ListSource",
    "ManualClock",
    "MemoryLeaseStore",
    "MemoryMachine",
    "Recorder",
    "script_of",
]
