"""Who has a GPU: holders of leases, foreign processes, or nobody. Pure.

A foreign process uses a GPU without a lease of that GPU, even if it has one of another GPU. What
it uses is lacking to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.gpus.records import Ancestors, Gpu, GpuProcess, Lineage
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord

#: A GPU is idle while its foreign processes stay below both limits: a desktop, an idle viewer.
IDLE_MEMORY_MIB = 1024
IDLE_UTILISATION_PERCENT = 10

#: Memory in use that belongs to no process is taken for the driver's own, up to this. The rest
#: belongs to processes that the driver doesn't name: in a container it names only those of that
#: container.
DRIVER_MIB = 1024


class Occupancy(NamedTuple):
    """Who has a GPU."""

    state: str  #: free, shared (partly leased), leased, used (by foreign processes) or fault
    leases: tuple[LeaseRecord, ...] = ()
    foreign: tuple[GpuProcess, ...] = ()  #: foreign processes
    unnamed_mib: int = 0  #: in use by foreign processes that the driver doesn't name


def leases_of(gpu: Gpu, leases: Sequence[LeaseRecord]) -> tuple[LeaseRecord, ...]:
    """The leases that hold the GPU, oldest first.

    A lease of a whole GPU holds its MIG slices. A lease that was taken while the driver didn't
    answer has the GPU's number as its key.
    """
    keys = {gpu.uuid, gpu.parent} - {""}
    if not gpu.parent:
        keys.add(str(gpu.number))
    held = (lease for lease in leases if keys & set(lease.gpus))
    return tuple(sorted(held, key=lambda lease: lease.since_s))


def belongs(process: GpuProcess, lease: LeaseRecord, ancestors: Ancestors) -> bool:
    """True if the process uses the GPU by right of the lease.

    It does if the lease's holder is the process itself, one of its parents, or the leader of its
    session. To be started from the same terminal isn't enough.

    If the holder is gone, some descendant of it holds the lease, and any process of that user
    belongs. A process of another user, or one that got the holder's pid later, is no holder.
    """
    own, holder = ancestors(process.pid), ancestors(lease.pid)
    if not _is_holder(holder, lease):
        return process.user == lease.user
    return lease.pid in own.pids or own.session == lease.pid


def _is_holder(process: Lineage, lease: LeaseRecord) -> bool:
    """True if the process that has the lease's pid now took the lease.

    A process of root may have changed its user since.
    """
    is_same_user = lease.uid == 0 or process.user == lease.user
    is_same_start = lease.start_ticks in (0, process.start_ticks)
    return bool(process.pids) and is_same_user and is_same_start


def foreign_processes(
    gpu: Gpu, leases: Sequence[LeaseRecord], ancestors: Ancestors
) -> tuple[GpuProcess, ...]:
    """The processes on the GPU that belong to none of its leases, largest first."""
    held = leases_of(gpu, leases)
    foreign = [
        process
        for process in gpu.processes
        if not any(belongs(process, lease, ancestors) for lease in held)
    ]
    return tuple(sorted(foreign, key=lambda process: (-(process.memory_mib or 0), process.pid)))


def unclaimed_mib(gpu: Gpu) -> int:
    """Memory in use that belongs to no process, in MiB; 0 if that is unknown."""
    sizes_mib = [process.memory_mib for process in gpu.processes if process.memory_mib is not None]
    if gpu.memory_used_mib is None or len(sizes_mib) < len(gpu.processes):
        return 0
    return max(0, gpu.memory_used_mib - sum(sizes_mib))


def unnamed_mib(gpu: Gpu, idle_memory_mib: int = IDLE_MEMORY_MIB) -> int:
    """Memory of processes that the driver doesn't name, in MiB; 0 if it is below the limit."""
    rest_mib = unclaimed_mib(gpu) - DRIVER_MIB
    return rest_mib if rest_mib >= max(1, idle_memory_mib) else 0


def without_leased_use(gpu: Gpu, leases: Sequence[LeaseRecord]) -> Gpu:
    """The GPU with unknown use if it is leased: the use may be that of the lease's holders."""
    if not leases_of(gpu, leases):
        return gpu
    return gpu._replace(utilisation_percent=None, memory_used_mib=None)


def is_busy(
    gpu: Gpu,
    foreign: Sequence[GpuProcess],
    *,
    idle_memory_mib: int = IDLE_MEMORY_MIB,
    idle_utilisation_percent: int = IDLE_UTILISATION_PERCENT,
) -> bool:
    """True if foreign processes, named or not, use more of the GPU than an idle GPU's.

    Their memory counts together. Unknown memory counts as over the limit, unknown utilisation
    as zero.
    """
    if unnamed_mib(gpu, idle_memory_mib):
        return True
    if not foreign:
        return False
    sizes_mib = [process.memory_mib for process in foreign if process.memory_mib is not None]
    if len(sizes_mib) < len(foreign) or sum(sizes_mib) >= idle_memory_mib:
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
    foreign = foreign_processes(gpu, leases, ancestors)
    unleased = without_leased_use(gpu, held)
    busy = is_busy(
        unleased,
        foreign,
        idle_memory_mib=idle_memory_mib,
        idle_utilisation_percent=idle_utilisation_percent,
    )
    state = _state(gpu, held, busy=busy)
    return Occupancy(state, held, foreign, unnamed_mib(unleased, idle_memory_mib))


def _state(gpu: Gpu, held: Sequence[LeaseRecord], *, busy: bool) -> str:
    if gpu.fault:
        return "fault"
    ids = {lease.id for lease in held}
    units = sum(lease.units for lease in held if lease.parent not in ids)  # a part of one of these
    if units >= GPU_UNITS:
        return "leased"
    if busy:
        return "used"
    return "shared" if held else "free"
