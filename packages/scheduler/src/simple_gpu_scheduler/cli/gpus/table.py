"""GPUs and who has them as text and as objects: pure functions of what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simple_gpu_scheduler.allocation.occupancy import Occupancy
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop, pad, text_width
from simple_gpu_scheduler.units.durations import since

Seen = Sequence[tuple[Gpu, Occupancy]]

#: Title of each column, and whether it is a number.
_COLUMNS = (
    ("GPU", False),
    ("name", False),
    ("memory MiB", True),
    ("use", True),
    ("temp", True),
    ("power", True),
    ("state", False),
)
_NAME = 1  #: the column that gives way where a line is too long
_LEAST_NAME, _MOST_NAME = 8, 40  #: columns of the terminal that the name of a card may take
_LEAST_UUID = 12  #: characters of a slice's UUID that are shown, if that is enough to know it
_INDENT = "     "
_GAP = "  "


def table(seen: Seen, now_s: float, width: int | None = None) -> list[str]:
    """A line a GPU, under it who has it, and at the end what is free.

    Args:
        now_s: wall clock.
        width: of the terminal; names are shortened where the GPU's line would be longer.
    """
    names = short_names([gpu for gpu, _ in seen])
    rows = [_cells(name, gpu, one) for name, (gpu, one) in zip(names, seen, strict=True)]
    titles = tuple(title for title, _ in _COLUMNS)
    widths = [max(map(text_width, column)) for column in zip(titles, *rows, strict=True)]
    if width is not None:
        widths[_NAME] = _name_width(widths, width)
    lines = [_line(titles, widths)] if seen else []
    for row, (gpu, one) in zip(rows, seen, strict=True):
        lines.append(_line(row, widths))
        lines += [_INDENT + detail for detail in _details(gpu, one, now_s)]
    return [*lines, *([""] if seen else []), _summary([one for _, one in seen])]


def objects(seen: Seen) -> list[dict[str, Any]]:
    """What --json prints; the fields are described in the help of `sgs gpus`."""
    names = short_names([gpu for gpu, _ in seen])
    return [_object(name, gpu, one) for name, (gpu, one) in zip(names, seen, strict=True)]


def short_names(gpus: Sequence[Gpu]) -> list[str]:
    """What to call each GPU: its number, or enough of a slice's UUID to know it by."""
    uuids = [gpu.uuid for gpu in gpus]
    return [_beginning(gpu.uuid, uuids) if gpu.parent else str(gpu.number) for gpu in gpus]


def _beginning(uuid: str, uuids: Sequence[str]) -> str:
    for length in range(_LEAST_UUID, len(uuid)):
        if sum(one.startswith(uuid[:length]) for one in uuids) == 1:
            return uuid[:length]
    return uuid


def _cells(name: str, gpu: Gpu, one: Occupancy) -> tuple[str, ...]:
    memory = f"{_or_dash(gpu.memory_used_mib)}/{_or_dash(gpu.memory_total_mib)}"
    return (
        name,
        crop(printable(gpu.name), _MOST_NAME) or "-",
        "-" if memory == "-/-" else memory,
        _or_dash(gpu.utilisation_percent, "%"),
        _or_dash(gpu.temperature_c, " C"),
        _or_dash(None if gpu.power_w is None else round(gpu.power_w), " W"),
        one.state,
    )


def _name_width(widths: Sequence[int], width: int) -> int:
    """What is left to the names, if that is enough to tell one from another."""
    too_long = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    least = min(widths[_NAME], _LEAST_NAME)
    return max(least, widths[_NAME] - max(0, too_long))


def _or_dash(value: int | None, unit: str = "") -> str:
    return "-" if value is None else f"{value}{unit}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    parts = (
        pad(crop(cell, width), width, right=right)
        for cell, width, (_, right) in zip(cells, widths, _COLUMNS, strict=True)
    )
    return _GAP.join(parts).rstrip()


def _details(gpu: Gpu, one: Occupancy, now_s: float) -> Iterator[str]:
    if gpu.fault:
        yield printable(gpu.fault)
    for lease in one.leases:
        yield _lease(lease, now_s)
    for process in one.foreign:
        yield _stranger(process)
    if one.unnamed_mib:
        yield f"{one.unnamed_mib} MiB of somebody whom the driver doesn't name (of a container?)"


def _lease(lease: LeaseRecord, now_s: float) -> str:
    return (
        f"leased by {printable(lease.user)} since {since(lease.since_s, now_s)}: "
        f"{printable(lease.kind)}, process {lease.pid}{_part(lease)}"
    )


def _part(lease: LeaseRecord) -> str:
    """What it has of the GPU: memory if it says so; then its units only bound how many share."""
    if lease.memory_mib is not None:
        return f", {lease.memory_mib} MiB"
    return "" if lease.units >= GPU_UNITS else f", {lease.units / GPU_UNITS:.0%} of it"


def _stranger(process: GpuProcess) -> str:
    memory = _or_dash(process.memory_mib, " MiB")
    memory = "memory unknown" if memory == "-" else memory
    if not process.user:
        return f"process {process.pid}, {memory}: not to be seen (ended, or of a container)"
    name = printable(process.name)
    return f"process {process.pid} ({name}) of {printable(process.user)}, {memory}, has no lease"


def _summary(seen: Sequence[Occupancy]) -> str:
    if not seen:
        return "The driver answers, but has no GPU."
    free = sum(one.state == "free" for one in seen)
    return f"{free} of {len(seen)} {'GPU is' if len(seen) == 1 else 'GPUs are'} free."


def _object(name: str, gpu: Gpu, one: Occupancy) -> dict[str, Any]:
    fields = gpu._asdict()
    del fields["number"]
    return {
        "gpu": name,
        "index": gpu.number,
        **fields,
        "parent": gpu.parent or None,
        "fault": gpu.fault or None,
        "state": one.state,
        "free": one.state == "free",
        "links": [link._asdict() for link in gpu.links],
        "leases": [_lease_object(lease) for lease in one.leases],
        "processes": [_process_object(process) for process in gpu.processes],
        "strangers": [_process_object(process) for process in one.foreign],
        "unnamed_mib": one.unnamed_mib,
    }


def _lease_object(lease: LeaseRecord) -> dict[str, Any]:
    return {
        "id": lease.id,
        "user": lease.user,
        "kind": lease.kind,
        "pid": lease.pid,
        "since_s": lease.since_s,
        "share": lease.units / GPU_UNITS,
        "memory_mib": lease.memory_mib,
    }


def _process_object(process: GpuProcess) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "user": process.user or None,
        "name": process.name or None,
        "memory_mib": process.memory_mib,
    }
