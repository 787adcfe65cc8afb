"""The memory that jobs use on GPUs, read from the driver's lists of processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.ports import Devices
from simple_gpu_scheduler.gpus.records import Gpu, JobProcess, Lineage, shown_name


class DriverMeter:
    """Implements `memory.ports.MemoryMeter`."""

    def __init__(
        self, devices: Devices, lineage: Callable[[int], Lineage], keys: Mapping[str, str]
    ) -> None:
        """Don't ask the driver yet.

        Args:
            devices: the driver.
            lineage: reads the parents and the session of a process.
            keys: the UUIDs of GPUs, by the user's names.
        """
        self._devices = devices
        self._lineage = lineage
        self._names = {uuid: name for name, uuid in keys.items()}

    def processes(self, jobs: Collection[int]) -> list[JobProcess]:
        """See `memory.ports.MemoryMeter`; empty if the driver doesn't answer."""
        try:
            gpus = self._devices.gpus()
        except SgsError:
            return []
        return [process for gpu in gpus for process in self._processes_on(gpu, jobs)]

    def _processes_on(self, gpu: Gpu, jobs: Collection[int]) -> Iterator[JobProcess]:
        name = self._names.get(gpu.uuid, shown_name(gpu))
        whole = self._names.get(gpu.parent, str(gpu.number)) if gpu.parent else name
        for process in gpu.processes:
            job = self._find_job(process.pid, jobs)
            if job is not None:
                yield JobProcess(job, process.pid, process.name, name, whole, process.memory_mib)

    def _find_job(self, pid: int, jobs: Collection[int]) -> int | None:
        """The job that a process belongs to: its session's leader, or one of its parents."""
        lineage = self._lineage(pid)
        if lineage.session in jobs:
            return lineage.session
        return next((ancestor for ancestor in lineage.pids if ancestor in jobs), None)
