"""GPUs, their processes and their links at one moment, and which GPU a name means. Pure.

Memory is in MiB; None if the driver doesn't report it. A GPU that MIG has cut has no record. Each
of its slices has one, with the number of the whole GPU, and its UUID as `parent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

#: Xids (NVIDIA's numbers for driver errors) that programs cause: the GPU can still be used. They
#: are the "application errors" of NVIDIA's device plugin for Kubernetes. For their meanings see
#: https://docs.nvidia.com/deploy/xid-errors.
PROGRAM_XIDS = frozenset({13, 31, 43, 45, 68, 109})


class GpuProcess(NamedTuple):
    """A process that has memory on a GPU."""

    pid: int  #: as the driver reports it
    user: str = ""  #: empty: the process has ended, or is in another pid namespace
    name: str = ""  #: its short name (comm), with any characters
    memory_mib: int | None = None
    start_ticks: int | None = None  #: clock ticks since boot; with the pid they identify it


class Link(NamedTuple):
    """A direct connection from one GPU to another."""

    uuid: str  #: of the other GPU
    nvlinks: int  #: how many; by a switch: as many as the GPU with fewer links has


class Gpu(NamedTuple):
    """A GPU, or a MIG slice of one."""

    number: int  #: nvidia-smi's number of the whole GPU
    uuid: str  #: empty: the GPU was lost before its UUID was read
    name: str = ""
    pci_bus_id: str = ""
    memory_total_mib: int | None = None
    memory_used_mib: int | None = None
    utilisation_percent: int | None = None
    temperature_c: int | None = None  #: for a slice, that of the whole GPU
    power_w: float | None = None  #: for a slice, that of the whole GPU
    processes: tuple[GpuProcess, ...] = ()
    parent: str = ""  #: for a slice, the UUID of the whole GPU
    compute_share: float | None = None  #: for a slice, its part of the GPU's compute
    numa_node: int | None = None  #: of the CPUs near it
    links: tuple[Link, ...] = ()
    fault: str = ""  #: why it can't be used; empty if it can


class Xid(NamedTuple):
    """An error that the driver reported."""

    uuid: str  #: of the GPU
    number: int

    @property
    def is_fault(self) -> bool:
        """True unless a program has caused it."""
        return self.number not in PROGRAM_XIDS

    def __str__(self) -> str:
        return f"Xid {self.number} (see dmesg and docs.nvidia.com/deploy/xid-errors)"


class LinkEnd(NamedTuple):
    """The far end of an active NVLink."""

    pci_bus_id: str
    is_switch: bool


def find_gpu(name: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """The GPU that a user's name means; None if it means none or several.

    The number of a GPU that MIG has cut means none of its slices.
    """
    place = find_place([(None if gpu.parent else gpu.number, gpu.uuid) for gpu in gpus], name)
    return None if place is None else gpus[place]


def find_place(gpus: Sequence[tuple[int | None, str]], name: str) -> int | None:
    """The index of the GPU that a name means, as CUDA reads names; None if it is none or several.

    Args:
        gpus: the number (None for a slice) and the UUID of each.
        name: a number, a UUID or the start of one.
    """
    if name.isascii() and name.isdigit():
        places = [place for place, (number, _) in enumerate(gpus) if number == int(name)]
    elif name.startswith(("GPU-", "MIG-")):
        exact = [place for place, (_, uuid) in enumerate(gpus) if uuid == name]
        places = exact or [place for place, (_, uuid) in enumerate(gpus) if uuid.startswith(name)]
    else:  # AMD's driver may name UUIDs without a prefix
        places = [place for place, (_, uuid) in enumerate(gpus) if uuid == name != ""]
    return places[0] if len(places) == 1 else None


def lease_key(name: str, gpus: Sequence[Gpu]) -> str:
    """The key in leases of the GPU that a user named: its UUID if it has one, else the name."""
    gpu = find_gpu(name, gpus)
    return gpu.uuid if gpu and gpu.uuid else name


def shown_name(gpu: Gpu) -> str:
    """The name that users see: a GPU's number, or a slice's UUID."""
    return gpu.uuid if gpu.parent else str(gpu.number)


def normal_pci(bus_id: str) -> str:
    """The PCI address as /sys writes it: NVML's `00000000:17:00.0` becomes `0000:17:00.0`."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain.lstrip('0').rjust(4, '0')}:{rest}" if rest else bus_id.lower()


def peers(
    uuid: str, ends: Mapping[str, Sequence[LinkEnd]], uuids: Mapping[str, str]
) -> list[Link]:
    """The links of a GPU to others, in the order of `ends`.

    A switch connects all its GPUs, each two of them at the speed of the one with fewer links.

    Args:
        uuid: of the GPU.
        ends: the far ends of the links of all GPUs, by UUID.
        uuids: the UUIDs of all GPUs, by PCI address (`normal_pci`).
    """
    own = _count_links(ends.get(uuid, ()), uuids)
    links: list[Link] = []
    for other, other_ends in ends.items():
        by_switch = min(own.get("", 0), _count_links(other_ends, uuids).get("", 0))
        count = own.get(other, 0) + by_switch
        if other != uuid and count:
            links.append(Link(other, count))
    return links


def _count_links(ends: Iterable[LinkEnd], uuids: Mapping[str, str]) -> dict[str, int]:
    """How many links go to each GPU, by UUID; those to switches under the empty name."""
    counts: dict[str, int] = {}
    for end in ends:
        other = "" if end.is_switch else uuids.get(normal_pci(end.pci_bus_id))
        if other is not None:
            counts[other] = counts.get(other, 0) + 1
    return counts


class JobProcess(NamedTuple):
    """A process of a running job that has memory on a GPU."""

    job_pid: int  #: of the job's first process
    pid: int
    name: str  #: its short name; empty: unknown
    gpu: str  #: the GPU or slice, by the user's name for it, or nvidia-smi's number
    card: str  #: the same for the whole GPU, if `gpu` is a slice
    memory_mib: int | None = None


class Lineage(NamedTuple):
    """The parents of a process, its session and its user."""

    pids: tuple[int, ...] = ()  #: itself and its parents; empty: it has ended
    session: int | None = None
    user: str = ""
    start_ticks: int = 0  #: when it was started, in clock ticks since boot


#: Reads the lineage of a pid.
Ancestors = Callable[[int], Lineage]
