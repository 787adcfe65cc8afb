"""Who has a GPU: holders of leases, strangers, or nobody. Arithmetic on records.

A stranger is a process on a GPU that belongs to no lease of that GPU, even if it has a lease of
another one. What counts is what it keeps others from using.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.devices import Gpu, GpuProcess
from simple_gpu_scheduler.leasing import LeaseRecord
from simple_gpu_scheduler.model import GPU_UNITS

#: Below both of these, what strangers have does not make a card busy: a desktop, an idle viewer.
IDLE_MEMORY_MIB = 1024
IDLE_UTILISATION_PERCENT = 10


class Lineage(NamedTuple):
    """Where a process comes from."""

    pids: tuple[int, ...] = ()  #: itself and its parents; empty if it is gone
    session: int | None = None


Ancestors = Callable[[int], Lineage]


class Occupancy(NamedTuple):
    """What a GPU is to somebody who wants one."""

    state: str  #: free, shared (part of it is leased), leased, used (by strangers) or fault
    leases: tuple[LeaseRecord, ...] = ()
    strangers: tuple[GpuProcess, ...] = ()


def leases_of(gpu: Gpu, leases: Sequence[LeaseRecord]) -> tuple[LeaseRecord, ...]:
    """The leases that hold the GPU, oldest first.

    A lease of a whole card holds its slices; one that was taken while the driver didn't answer
    has the card's number for a key.
    """
    keys = {gpu.uuid, gpu.parent} - {""}
    if not gpu.parent:
        keys.add(str(gpu.number))
    return tuple(sorted((x for x in leases if keys & set(x.gpus)), key=lambda x: x.since_s))


def belongs(process: GpuProcess, lease: LeaseRecord, ancestors: Ancestors) -> bool:
    """Whether the process is part of what holds the lease.

    It is if the holder is the process itself, one of its parents, or the leader of its session:
    not if it was merely started from the same terminal. Where the holder is gone, the lease lives
    by some descendant of it: any process of that user will do.
    """
    own, holder = ancestors(process.pid), ancestors(lease.pid)
    if not holder.pids:
        return process.user == lease.user
    return lease.pid in own.pids or own.session == lease.pid


def strangers(
    gpu: Gpu, leases: Sequence[LeaseRecord], ancestors: Ancestors
) -> tuple[GpuProcess, ...]:
    """The processes on the GPU that belong to none of its leases, largest first."""
    held = leases_of(gpu, leases)
    found = [p for p in gpu.processes if not any(belongs(p, one, ancestors) for one in held)]
    return tuple(sorted(found, key=lambda one: (-(one.memory_mib or 0), one.pid)))


def is_busy(
    gpu: Gpu,
    found: Sequence[GpuProcess],
    *,
    idle_memory_mib: int = IDLE_MEMORY_MIB,
    idle_utilisation_percent: int = IDLE_UTILISATION_PERCENT,
) -> bool:
    """Whether these strangers keep others off the GPU.

    They don't if together they have less memory, and the GPU does less, than the two limits.
    Unknown memory counts as much, unknown utilisation as none.
    """
    if not found:
        return False
    known = [one.memory_mib for one in found if one.memory_mib is not None]
    if len(known) < len(found) or sum(known) >= idle_memory_mib:
        return True
    return (gpu.utilisation_percent or 0) >= idle_utilisation_percent


def occupancy(
    gpu: Gpu,
    leases: Sequence[LeaseRecord],
    ancestors: Ancestors,
    *,
    idle_memory_mib: int = IDLE_MEMORY_MIB,
    idle_utilisation_percent: int = IDLE_UTILISATION_PERCENT,
) -> Occupancy:
    """Who has the GPU; the utilisation is the strangers' only where nobody has a lease."""
    held = leases_of(gpu, leases)
    found = strangers(gpu, leases, ancestors)
    alone = gpu if not held else gpu._replace(utilisation_percent=None)
    busy = is_busy(
        alone,
        found,
        idle_memory_mib=idle_memory_mib,
        idle_utilisation_percent=idle_utilisation_percent,
    )
    return Occupancy(_state(gpu, held, busy=busy), held, found)


def _state(gpu: Gpu, held: Sequence[LeaseRecord], *, busy: bool) -> str:
    if gpu.fault:
        return "fault"
    ids = {one.id for one in held}
    units = sum(one.units for one in held if one.parent not in ids)  # a part of one of these
    if units >= GPU_UNITS:
        return "leased"
    if busy:
        return "used"
    return "shared" if held else "free"
