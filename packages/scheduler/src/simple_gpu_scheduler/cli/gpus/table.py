"""GPUs and their holders, as a table and as JSON objects. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simple_gpu_scheduler.allocation.occupancy import Occupancy
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.table import column_widths, format_row, narrow
from simple_gpu_scheduler.text.terminal import crop
from simple_gpu_scheduler.units.durations import format_since

#: Titles of the columns, and whether each holds numbers.
_TITLES = ("GPU", "name", "memory MiB", "use", "temp", "power", "state")
_IS_NUMBER = (False, False, True, True, True, True, False)
_NAME = 1  #: the column that gives way if a line is too long
_LEAST_NAME, _MOST_NAME = 8, 40  #: width of a GPU's name, in columns of the terminal
_LEAST_UUID = 12  #: characters of a MIG slice's UUID; more are shown if two slices share them
_INDENT = "     "


def table(
    gpus: Sequence[tuple[Gpu, Occupancy]], now_s: float, width: int | None = None
) -> list[str]:
    """Return a line for each GPU, with its holders below it, and a summary at the end.

    Args:
        gpus: the GPUs and who has them.
        now_s: wall clock.
        width: of the terminal; names are shortened where a GPU's line would be longer.
    """
    names = short_names([gpu for gpu, _ in gpus])
    rows = [_cells(name, *pair) for name, pair in zip(names, gpus, strict=True)]
    widths = column_widths([_TITLES, *rows])
    if width is not None:
        widths = narrow(widths, {_NAME: _LEAST_NAME}, width)
    lines = [format_row(_TITLES, widths, _IS_NUMBER)] if gpus else []
    for row, (gpu, occupancy) in zip(rows, gpus, strict=True):
        lines.append(format_row(row, widths, _IS_NUMBER))
        lines += [_INDENT + detail for detail in _details(gpu, occupancy, now_s)]
    return [*lines, *([""] if gpus else []), _summary([occupancy for _, occupancy in gpus])]


def objects(gpus: Sequence[tuple[Gpu, Occupancy]]) -> list[dict[str, Any]]:
    """Return the JSON object of each GPU; the help of `sgs gpus` describes the keys."""
    names = short_names([gpu for gpu, _ in gpus])
    return [_object(name, *pair) for name, pair in zip(names, gpus, strict=True)]


def short_names(gpus: Sequence[Gpu]) -> list[str]:
    """Return the id of each GPU: its number, or the first characters of a MIG slice's UUID."""
    uuids = [gpu.uuid for gpu in gpus]
    return [_unique_prefix(gpu.uuid, uuids) if gpu.parent else str(gpu.number) for gpu in gpus]


def _unique_prefix(uuid: str, uuids: Sequence[str]) -> str:
    for length in range(_LEAST_UUID, len(uuid)):
        if sum(other.startswith(uuid[:length]) for other in uuids) == 1:
            return uuid[:length]
    return uuid


def _cells(name: str, gpu: Gpu, occupancy: Occupancy) -> tuple[str, ...]:
    memory = f"{_or_dash(gpu.memory_used_mib)}/{_or_dash(gpu.memory_total_mib)}"
    return (
        name,
        crop(printable(gpu.name), _MOST_NAME) or "-",
        "-" if memory == "-/-" else memory,
        _or_dash(gpu.utilisation_percent, "%"),
        _or_dash(gpu.temperature_c, " C"),
        _or_dash(None if gpu.power_w is None else round(gpu.power_w), " W"),
        occupancy.state,
    )


def _or_dash(value: int | None, unit: str = "") -> str:
    return "-" if value is None else f"{value}{unit}"


def _details(gpu: Gpu, occupancy: Occupancy, now_s: float) -> Iterator[str]:
    if gpu.fault:
        yield printable(gpu.fault)
    for lease in occupancy.leases:
        yield _describe_lease(lease, now_s)
    for process in occupancy.strangers:
        yield _describe_foreign(process)
    if occupancy.unnamed_mib:
        yield (
            f"{occupancy.unnamed_mib} MiB of processes that the driver doesn't name "
            "(in a container?)"
        )


def _describe_lease(lease: LeaseRecord, now_s: float) -> str:
    return (
        f"leased by {printable(lease.user)} since {format_since(lease.since_s, now_s)}: "
        f"{printable(lease.kind)}, process {lease.pid}{_share(lease)}"
    )


def _share(lease: LeaseRecord) -> str:
    """Return the part of the GPU that is leased: its memory if that is known, else the share.

    Where it has a size in memory, the units only limit how many leases share the GPU.
    """
    if lease.memory_mib is not None:
        return f", {lease.memory_mib} MiB"
    return "" if lease.units >= GPU_UNITS else f", {lease.units / GPU_UNITS:.0%} of it"


def _describe_foreign(process: GpuProcess) -> str:
    memory = _or_dash(process.memory_mib, " MiB")
    memory = "memory unknown" if memory == "-" else memory
    if not process.user:
        return f"process {process.pid}, {memory}: can't be seen (ended, or in a container)"
    name = printable(process.name)
    return f"process {process.pid} ({name}) of {printable(process.user)}, {memory}, has no lease"


def _summary(occupancies: Sequence[Occupancy]) -> str:
    total = len(occupancies)
    if not total:
        return "The driver answers, but has no GPU."
    free = sum(occupancy.state == "free" for occupancy in occupancies)
    return f"{free} of {total} {'GPU is' if total == 1 else 'GPUs are'} free."


def _object(name: str, gpu: Gpu, occupancy: Occupancy) -> dict[str, Any]:
    fields = gpu._asdict()
    del fields["number"]
    return {
        "gpu": name,
        "index": gpu.number,
        **fields,
        "parent": gpu.parent or None,
        "fault": gpu.fault or None,
        "state": occupancy.state,
        "free": occupancy.state == "free",
        "links": [link._asdict() for link in gpu.links],
        "leases": [_lease_object(lease) for lease in occupancy.leases],
        "processes": [_process_object(process) for process in gpu.processes],
        "strangers": [_process_object(process) for process in occupancy.strangers],
        "unnamed_mib": occupancy.unnamed_mib,
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
