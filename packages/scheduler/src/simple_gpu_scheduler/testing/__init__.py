"""Fakes for tests: the pipe's processes, clock, GPUs and leases, all in memory.

No process is started, and time passes only when the test says so. The fakes pass the same contract
tests as the real parts: a result with the fakes holds for the real parts, too.
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
