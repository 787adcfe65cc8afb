"""What jobs take of their GPUs' memory, by the driver's list of processes."""

from __future__ import annotations

from collections.abc import Callable, Collection

from simple_gpu_scheduler.device_ports import Devices
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.occupancy import Lineage

#: Least time between two looks: jobs may end much more often.
LEAST_S = 0.5


class DriverMeter:
    """Implements `ports.MemoryMeter`. A job is its process and all below it."""

    def __init__(self, devices: Devices, lineage: Callable[[int], Lineage]) -> None:
        """`lineage` tells where a process comes from."""
        self._devices = devices
        self._lineage = lineage
        self._peaks_mib: dict[int, int] = {}
        self._next_s = 0.0

    def sample(self, pids: Collection[int], now_s: float) -> None:
        """Look at these jobs, if it is time; a driver that doesn't answer is asked again."""
        if not pids or now_s < self._next_s:
            return
        self._next_s = now_s + LEAST_S
        try:
            gpus = self._devices.gpus()
        except SgsError:
            return
        for gpu in gpus:
            used_mib: dict[int, int] = {}
            for process in gpu.processes:
                job = self._job_of(process.pid, pids)
                if job is not None and process.memory_mib is not None:
                    used_mib[job] = used_mib.get(job, 0) + process.memory_mib
            for job, mib in used_mib.items():
                self._peaks_mib[job] = max(mib, self._peaks_mib.get(job, 0))

    def _job_of(self, pid: int, jobs: Collection[int]) -> int | None:
        """The job that a process belongs to: its session's leader, or one of its parents."""
        lineage = self._lineage(pid)
        if lineage.session in jobs:
            return lineage.session
        return next((one for one in lineage.pids if one in jobs), None)

    def peak_mib(self, pid: int) -> int | None:
        """The most that an ended job was seen to have; it is forgotten then."""
        return self._peaks_mib.pop(pid, None)
