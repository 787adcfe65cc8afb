"""What a GPU is at one moment: records, and which GPU a user means.

Memory in MiB, None where the driver doesn't tell. A card that MIG has cut is not there itself;
its slices are, each with the card's number and its UUID as `parent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

#: Xids (NVIDIA's numbers for driver errors) that a program's own mistakes cause: the card is well.
#: The list is that of NVIDIA's device plugin for Kubernetes, "application errors"; the meanings
#: are in https://docs.nvidia.com/deploy/xid-errors.
PROGRAM_XIDS = frozenset({13, 31, 43, 45, 68, 109})


class GpuProcess(NamedTuple):
    """A process that has memory on a GPU."""

    pid: int  #: as the driver knows it
    user: str = ""  #: empty: the process is gone, or of another pid namespace
    name: str = ""  #: its short name (comm), any characters
    memory_mib: int | None = None
    start_ticks: int | None = None  #: since boot; with the pid it identifies the process for good


class Link(NamedTuple):
    """A direct way from one GPU to another."""

    uuid: str  #: of the other one
    nvlinks: int  #: between the two, or the fewer of theirs to a common switch


class Gpu(NamedTuple):
    """A card, or a MIG slice of one."""

    number: int  #: nvidia-smi's number of the card
    uuid: str  #: empty: the card was lost before it could be asked
    name: str = ""
    pci_bus_id: str = ""
    memory_total_mib: int | None = None
    memory_used_mib: int | None = None
    utilisation_percent: int | None = None
    temperature_c: int | None = None  #: a slice has that of its card
    power_w: float | None = None  #: a slice has that of its card
    processes: tuple[GpuProcess, ...] = ()
    parent: str = ""  #: UUID of the card that this is a slice of
    compute_share: float | None = None  #: of the card's compute, for a slice
    numa_node: int | None = None  #: of the CPUs near it
    links: tuple[Link, ...] = ()
    fault: str = ""  #: why it can't be used; empty if it can


class Xid(NamedTuple):
    """The driver has reported an error."""

    uuid: str  #: of the card
    number: int

    @property
    def is_fault(self) -> bool:
        """True unless a program's own mistake explains it."""
        return self.number not in PROGRAM_XIDS

    def __str__(self) -> str:
        return f"Xid {self.number} (see dmesg and docs.nvidia.com/deploy/xid-errors)"


class LinkEnd(NamedTuple):
    """The far end of an active NVLink."""

    pci_bus_id: str
    is_switch: bool


def find_gpu(name: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """The GPU that a user's name means; None if there is none, or several.

    The number of a card that is cut by MIG means no slice.
    """
    place = named([(None if gpu.parent else gpu.number, gpu.uuid) for gpu in gpus], name)
    return None if place is None else gpus[place]


def named(gpus: Sequence[tuple[int | None, str]], name: str) -> int | None:
    """The place of the GPU that a name means, as CUDA reads names; None if none or several.

    Args:
        gpus: the number (None for a slice) and the UUID of each.
        name: a number, a UUID or the start of one.
    """
    if name.isascii() and name.isdigit():
        found = [place for place, (number, _) in enumerate(gpus) if number == int(name)]
    elif name.startswith(("GPU-", "MIG-")):
        exact = [place for place, (_, uuid) in enumerate(gpus) if uuid == name]
        found = exact or [place for place, (_, uuid) in enumerate(gpus) if uuid.startswith(name)]
    else:
        found = []
    return found[0] if len(found) == 1 else None


def lease_key(name: str, gpus: Sequence[Gpu]) -> str:
    """What a lease calls the GPU that a user named: its UUID if it has one, else the name."""
    gpu = find_gpu(name, gpus)
    return gpu.uuid if gpu and gpu.uuid else name


def shown_name(gpu: Gpu) -> str:
    """What users call it: the card's number, or the UUID of a slice."""
    return gpu.uuid if gpu.parent else str(gpu.number)


def normal_pci(bus_id: str) -> str:
    """A PCI address as /sys writes it: NVML's `00000000:17:00.0` is `0000:17:00.0`."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain.lstrip('0').rjust(4, '0')}:{rest}" if rest else bus_id.lower()


def peers(
    uuid: str, ends: Mapping[str, Sequence[LinkEnd]], uuids: Mapping[str, str]
) -> list[Link]:
    """The GPUs that one is linked to, in the order of `ends`.

    Args:
        uuid: of the one.
        ends: of every card's links, by its UUID.
        uuids: of the cards, by PCI address (`normal_pci`).

    Behind a switch every card reaches every other one, at the speed of the one with fewer links.
    """
    own = _counts(ends.get(uuid, ()), uuids)
    found: list[Link] = []
    for other, far in ends.items():
        shared = min(own.get("", 0), _counts(far, uuids).get("", 0))
        count = own.get(other, 0) + shared
        if other != uuid and count:
            found.append(Link(other, count))
    return found


def _counts(ends: Iterable[LinkEnd], uuids: Mapping[str, str]) -> dict[str, int]:
    """Links by the UUID of the other card; those to switches under the empty name."""
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
    name: str  #: its short name; empty if nobody knows
    gpu: str  #: as the user names it, or nvidia-smi's number
    card: str  #: the same, but that of its card if it is a slice
    memory_mib: int | None = None  #: None: the driver doesn't tell


class Lineage(NamedTuple):
    """Where a process comes from."""

    pids: tuple[int, ...] = ()  #: itself and its parents; empty if it is gone
    session: int | None = None
    user: str = ""  #: whose the process is
    start_ticks: int = 0  #: when it was started, since boot


Ancestors = Callable[[int], Lineage]
