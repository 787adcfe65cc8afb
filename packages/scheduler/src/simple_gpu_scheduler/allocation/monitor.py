"""What the driver reports of our GPUs: memory, foreign processes, faults and links.

NVML has no events for memory, so the driver is asked: before a lease is taken, and every two
seconds while we wait for a foreign process to end.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from simple_gpu_scheduler.allocation.occupancy import (
    DRIVER_MIB,
    IDLE_MEMORY_MIB,
    IDLE_UTILISATION_PERCENT,
    foreign_processes,
    is_busy,
    unclaimed_mib,
    unnamed_mib,
    without_leased_use,
)
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.ports import Devices
from simple_gpu_scheduler.gpus.processes import lineage
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.units.sizes import format_memory

#: Memory of each GPU that no job gets: for the driver, and for what CUDA takes on top of a
#: program's request.
RESERVE_MIB = 512

#: How many foreign processes of a GPU a message names.
_MOST_NAMED = 3


class GpuMonitor:
    """Our GPUs as the driver last reported them."""

    def __init__(
        self,
        devices: Devices,
        keys: Mapping[str, str],
        *,
        avoid_foreign: bool,
        idle_memory_mib: int = IDLE_MEMORY_MIB,
        idle_utilisation_percent: int = IDLE_UTILISATION_PERCENT,
        reserve_mib: int = RESERVE_MIB,
    ) -> None:
        """Don't ask the driver yet.

        Args:
            devices: the driver.
            keys: the UUID of each GPU, by its name.
            avoid_foreign: give no room on GPUs that foreign processes use, unless they are idle.
            idle_memory_mib: foreign processes have less than this on an idle GPU, in MiB.
            idle_utilisation_percent: an idle GPU is utilised less than this.
            reserve_mib: memory of each GPU that no job gets, in MiB.
        """
        self._devices = devices
        self._names = {uuid: name for name, uuid in keys.items()}
        self._avoid_foreign = avoid_foreign
        self._idle_memory_mib = idle_memory_mib
        self._idle_utilisation_percent = idle_utilisation_percent
        self._reserve_mib = reserve_mib
        self._cards = {uuid: Card(name) for name, uuid in keys.items()}
        self.foreign_use: dict[str, str] = {}  #: who uses a GPU without a lease, by its name
        self.busy: dict[str, str] = {}  #: a sentence about each GPU of these that isn't idle
        self.faults: dict[str, str] = {}  #: why a GPU can't be used, by its name

    def read(self, leases: Sequence[LeaseRecord]) -> list[Card]:
        """Ask the driver for our GPUs. If it doesn't answer, its last answer counts."""
        try:
            self._devices.xids()  # first: `gpus` shows faults that were reported before
            gpus = self._devices.gpus()
        except SgsError:
            return list(self._cards.values())
        self.busy.clear()
        self.foreign_use.clear()
        ancestors = functools.cache(lineage)
        by_uuid = {gpu.uuid or str(gpu.number): gpu for gpu in gpus}  # a lost GPU has no UUID
        for uuid, name in self._names.items():
            gpu = by_uuid.get(uuid)
            if gpu is None or gpu.fault:
                self.faults[name] = gpu.fault if gpu else "the driver knows it no more"
            if name in self.faults or gpu is None:  # once failed, a GPU isn't trusted again
                self._cards[uuid] = Card(name, GPU_UNITS)
            else:
                foreign = foreign_processes(gpu, leases, ancestors)
                self._cards[uuid] = self._card(name, gpu, foreign, leases)
        return list(self._cards.values())

    def _card(
        self,
        name: str,
        gpu: Gpu,
        foreign: Sequence[GpuProcess],
        leases: Sequence[LeaseRecord],
    ) -> Card:
        unleased = without_leased_use(gpu, leases)
        busy = is_busy(
            unleased,
            foreign,
            idle_memory_mib=self._idle_memory_mib,
            idle_utilisation_percent=self._idle_utilisation_percent,
        )
        hidden_mib = unnamed_mib(unleased, self._idle_memory_mib)
        if foreign or hidden_mib:
            self.foreign_use[name] = _describe_use(foreign, hidden_mib)
        if busy:
            self.busy[name] = f"GPU {name} is used by {self.foreign_use[name]}"
        driver_mib = min(unclaimed_mib(gpu), DRIVER_MIB)
        total_mib = gpu.memory_total_mib
        return Card(
            name,
            GPU_UNITS if busy and self._avoid_foreign else 0,
            None if total_mib is None else max(0, total_mib - max(self._reserve_mib, driver_mib)),
            strangers_mib=sum(process.memory_mib or 0 for process in foreign)
            + max(0, unclaimed_mib(unleased) - driver_mib),
            observed_mib=(gpu.memory_used_mib or 0) - driver_mib,
            links=tuple(
                (self._names[link.uuid], link.nvlinks)
                for link in gpu.links
                if link.uuid in self._names
            ),
            numa=gpu.numa_node,
        )


def _describe_use(foreign: Sequence[GpuProcess], hidden_mib: int) -> str:
    """`bob (pid 41, python, 20 GiB)`, how many more there are, and what the driver hides."""
    users = [_describe_process(process) for process in foreign[:_MOST_NAMED]]
    if hidden_mib:
        users.append(f"somebody whom the driver doesn't name ({format_memory(hidden_mib)})")
    rest = len(foreign) - _MOST_NAMED
    return ", ".join(users) + (f" and {rest} more" if rest > 0 else "")


def _describe_process(process: GpuProcess) -> str:
    user = process.user or "somebody"
    name = process.name or "a process that we cannot see"
    memory = "unknown memory" if process.memory_mib is None else format_memory(process.memory_mib)
    return f"{user} (pid {process.pid}, {name}, {memory})"
