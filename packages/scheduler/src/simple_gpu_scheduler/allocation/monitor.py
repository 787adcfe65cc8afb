"""What the driver says of our GPUs, as a plan needs it: memory, strangers, faults, links.

NVML has no events for memory, so it is asked: when a GPU is to be taken anew, and every two
seconds while something waits for a stranger to go.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from simple_gpu_scheduler.allocation.occupancy import (
    DRIVER_MIB,
    IDLE_MEMORY_MIB,
    IDLE_UTILISATION_PERCENT,
    by_strangers,
    is_busy,
    strangers,
    unclaimed_mib,
    unnamed_mib,
)
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.driver import Devices
from simple_gpu_scheduler.gpus.processes import lineage
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.units.sizes import format_memory

#: Of each card, for the driver and what CUDA itself takes on top of a program's request.
RESERVE_MIB = 512


class GpuMonitor:
    """Our GPUs as the driver sees them."""

    def __init__(
        self,
        devices: Devices,
        keys: Mapping[str, str],
        *,
        avoid_strangers: bool,
        idle_memory_mib: int = IDLE_MEMORY_MIB,
        idle_utilisation_percent: int = IDLE_UTILISATION_PERCENT,
        reserve_mib: int = RESERVE_MIB,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            keys: the UUID of each GPU, by its name.
            avoid_strangers: don't take GPUs that processes without a lease use. Those with less
                than `idle_memory_mib` on a GPU with less than `idle_utilisation_percent` are let.
        """
        self._devices = devices
        self._names = {uuid: name for name, uuid in keys.items()}
        self._avoid_strangers = avoid_strangers
        self._idle_memory_mib = idle_memory_mib
        self._idle_utilisation_percent = idle_utilisation_percent
        self._reserve_mib = reserve_mib
        self._cards = {uuid: Card(name) for name, uuid in keys.items()}
        self.people: dict[str, str] = {}  #: who uses a card without a lease, by its name
        self.strangers: dict[str, str] = {}  #: the same in a sentence, where it is no small use
        self.faults: dict[str, str] = {}  #: why a card can't be used, by its name

    def read(self, leases: Sequence[LeaseRecord]) -> list[Card]:
        """Our cards now; as they were last seen, if the driver doesn't answer."""
        try:
            self._devices.xids()  # first: a card is at fault from then on
            gpus = self._devices.gpus()
        except SgsError:
            return list(self._cards.values())
        self.strangers.clear()
        self.people.clear()
        ancestors = functools.cache(lineage)
        by_uuid = {gpu.uuid or str(gpu.number): gpu for gpu in gpus}  # a lost card has no UUID
        for uuid, name in self._names.items():
            gpu = by_uuid.get(uuid)
            if gpu is None or gpu.fault:
                self.faults[name] = gpu.fault if gpu else "the driver knows it no more"
            if name in self.faults or gpu is None:  # what has failed once is not trusted again
                self._cards[uuid] = Card(name, GPU_UNITS)
            else:
                found = strangers(gpu, leases, ancestors)
                self._cards[uuid] = self._card(name, gpu, found, leases)
        return list(self._cards.values())

    def _card(
        self,
        name: str,
        gpu: Gpu,
        found: Sequence[GpuProcess],
        leases: Sequence[LeaseRecord],
    ) -> Card:
        theirs = by_strangers(gpu, leases)
        busy = is_busy(
            theirs,
            found,
            idle_memory_mib=self._idle_memory_mib,
            idle_utilisation_percent=self._idle_utilisation_percent,
        )
        hidden_mib = unnamed_mib(theirs, self._idle_memory_mib)
        if found or hidden_mib:
            self.people[name] = _people(found, hidden_mib)
        if busy:
            self.strangers[name] = f"GPU {name} is used by {self.people[name]}"
        own_mib = min(unclaimed_mib(gpu), DRIVER_MIB)
        total_mib = gpu.memory_total_mib
        return Card(
            name,
            GPU_UNITS if busy and self._avoid_strangers else 0,
            None if total_mib is None else max(0, total_mib - max(self._reserve_mib, own_mib)),
            strangers_mib=sum(one.memory_mib or 0 for one in found)
            + max(0, unclaimed_mib(theirs) - own_mib),
            observed_mib=(gpu.memory_used_mib or 0) - own_mib,
            links=tuple(
                (self._names[link.uuid], link.nvlinks)
                for link in gpu.links
                if link.uuid in self._names
            ),
            numa=gpu.numa_node,
        )


def _people(found: Sequence[GpuProcess], hidden_mib: int) -> str:
    """`bob (pid 41, python, 20 GiB)`, how many more, and who is hidden."""
    people = [_person(one) for one in found[:3]]
    if hidden_mib:
        people.append(f"somebody whom the driver doesn't name ({format_memory(hidden_mib)})")
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(people) + more


def _person(one: GpuProcess) -> str:
    user = one.user or "somebody"
    memory = "unknown memory" if one.memory_mib is None else format_memory(one.memory_mib)
    return f"{user} (pid {one.pid}, {one.name or 'a process that we cannot see'}, {memory})"
