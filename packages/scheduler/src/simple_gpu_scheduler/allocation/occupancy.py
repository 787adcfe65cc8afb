"""Who has a GPU: holders of leases, strangers, or nobody. Arithmetic on records.

A stranger is a process on a GPU that belongs to no lease of that GPU, even if it has a lease of
another one. What counts is what it keeps others from using.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.gpus.records import Ancestors, Gpu, GpuProcess, Lineage
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord

#: Below both of these, what strangers have does not make a card busy: a desktop, an idle viewer.
IDLE_MEMORY_MIB = 1024
IDLE_UTILISATION_PERCENT = 10

#: Memory in use that no process has is the driver's, up to this. More is somebody's whom the
#: driver doesn't name: in a container it names only the processes of that container.
DRIVER_MIB = 1024


class Occupancy(NamedTuple):
    """What a GPU is to somebody who wants one."""

    state: str  #: free, shared (part of it is leased), leased, used (by strangers) or fault
    leases: tuple[LeaseRecord, ...] = ()
    strangers: tuple[GpuProcess, ...] = ()
    unnamed_mib: int = 0  #: in use by strangers whom the driver doesn't name


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
    by some descendant of it: any process of that user will do. A process of somebody else, or one
    that has the holder's number by now, is no holder, whatever the lease says.
    """
    own, holder = ancestors(process.pid), ancestors(lease.pid)
    if not _is_holder(holder, lease):
        return process.user == lease.user
    return lease.pid in own.pids or own.session == lease.pid


def _is_holder(found: Lineage, lease: LeaseRecord) -> bool:
    """Whether what has the pid now is who took the lease; root's may have become anybody."""
    same_user = lease.uid == 0 or found.user == lease.user
    return bool(found.pids) and same_user and lease.start_ticks in (0, found.start_ticks)


def strangers(
    gpu: Gpu, leases: Sequence[LeaseRecord], ancestors: Ancestors
) -> tuple[GpuProcess, ...]:
    """The processes on the GPU that belong to none of its leases, largest first."""
    held = leases_of(gpu, leases)
    found = [p for p in gpu.processes if not any(belongs(p, one, ancestors) for one in held)]
    return tuple(sorted(found, key=lambda one: (-(one.memory_mib or 0), one.pid)))


def unclaimed_mib(gpu: Gpu) -> int:
    """Memory in use that no process has; 0 where that can't be told."""
    known = [one.memory_mib for one in gpu.processes if one.memory_mib is not None]
    if gpu.memory_used_mib is None or len(known) < len(gpu.processes):
        return 0
    return max(0, gpu.memory_used_mib - sum(known))


def unnamed_mib(gpu: Gpu, idle_memory_mib: int = IDLE_MEMORY_MIB) -> int:
    """What strangers have whom the driver doesn't name; 0 where it is little or the driver's."""
    rest_mib = unclaimed_mib(gpu) - DRIVER_MIB
    return rest_mib if rest_mib >= max(1, idle_memory_mib) else 0


def by_strangers(gpu: Gpu, leases: Sequence[LeaseRecord]) -> Gpu:
    """The GPU without what may as well be its holders': they are not told from strangers."""
    if not leases_of(gpu, leases):
        return gpu
    return gpu._replace(utilisation_percent=None, memory_used_mib=None)


def is_busy(
    gpu: Gpu,
    found: Sequence[GpuProcess],
    *,
    idle_memory_mib: int = IDLE_MEMORY_MIB,
    idle_utilisation_percent: int = IDLE_UTILISATION_PERCENT,
) -> bool:
    """Whether these strangers, and those whom nobody names, keep others off the GPU.

    They don't if together they have less memory, and the GPU does less, than the two limits.
    Unknown memory counts as much, unknown utilisation as none.
    """
    if unnamed_mib(gpu, idle_memory_mib):
        return True
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
    """Who has the GPU."""
    held = leases_of(gpu, leases)
    found = strangers(gpu, leases, ancestors)
    theirs = by_strangers(gpu, held)
    busy = is_busy(
        theirs,
        found,
        idle_memory_mib=idle_memory_mib,
        idle_utilisation_percent=idle_utilisation_percent,
    )
    state = _state(gpu, held, busy=busy)
    return Occupancy(state, held, found, unnamed_mib(theirs, idle_memory_mib))


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
