"""What jobs have on GPUs, by the driver's list of processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.driver import Devices
from simple_gpu_scheduler.gpus.records import Gpu, JobProcess, Lineage, shown_name


class DriverMeter:
    """Implements `ports.MemoryMeter`. A job is its process and all below it."""

    def __init__(
        self, devices: Devices, lineage: Callable[[int], Lineage], keys: Mapping[str, str]
    ) -> None:
        """`lineage` tells where a process comes from; `keys` are UUIDs by the user's names."""
        self._devices = devices
        self._lineage = lineage
        self._names = {uuid: name for name, uuid in keys.items()}

    def processes(self, jobs: Collection[int]) -> list[JobProcess]:
        """See `ports.MemoryMeter`; a driver that doesn't answer is asked again."""
        try:
            gpus = self._devices.gpus()
        except SgsError:
            return []
        return [process for gpu in gpus for process in self._on(gpu, jobs)]

    def _on(self, gpu: Gpu, jobs: Collection[int]) -> Iterator[JobProcess]:
        name = self._names.get(gpu.uuid, shown_name(gpu))
        card = self._names.get(gpu.parent, str(gpu.number)) if gpu.parent else name
        for process in gpu.processes:
            job = self._job_of(process.pid, jobs)
            if job is not None:
                yield JobProcess(job, process.pid, process.name, name, card, process.memory_mib)

    def _job_of(self, pid: int, jobs: Collection[int]) -> int | None:
        """The job that a process belongs to: its session's leader, or one of its parents."""
        lineage = self._lineage(pid)
        if lineage.session in jobs:
            return lineage.session
        return next((one for one in lineage.pids if one in jobs), None)
