"""The table of GPUs: memory, utilisation, temperature, and who uses each of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from simple_gpu_scheduler.allocation.occupancy import Occupancy
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess, find_gpu
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import text_width
from simple_gpu_scheduler.top.screen.job_table import format_job_ids
from simple_gpu_scheduler.top.screen.spans import Line, Span, fit, fit_cell, line
from simple_gpu_scheduler.units.sizes import format_memory

GpuOccupancies = Sequence[tuple[Gpu, Occupancy]]

_STYLES = {"free": "good", "used": "warn", "fault": "bad"}
_MIN_MODEL_WIDTH = 8  #: terminal columns; with fewer, no models are shown
_OTHER_COLUMNS = 20  #: terminal columns for gaps, utilisation and temperature
_HOLDERS_WIDTH = 25  #: terminal columns that stay for the holders if models are shown
_GAUGE, _SMALL_GAUGE = 10, 5
_MAX_GAUGED_NAME = 3  #: half a line has room for a gauge beside a name of this width
_TWO_GPUS_WIDTH = 76  #: two GPUs fit into a line of this many terminal columns
_FULL, _EMPTY = "\N{FULL BLOCK}", "\N{MIDDLE DOT}"
_VENDORS = ("NVIDIA ", "AMD ", "GeForce ")
_MEMORY = re.compile(r"(?<=\S) \d+ ?GB( HBM\w+)?")


class GpuHolders(NamedTuple):
    """What is known about who uses the GPUs, besides their occupancy."""

    jobs: Mapping[int, Sequence[int]]  #: jobs of this queue, by the index of the GPU in the table
    uid: int  #: the user of this queue
    unused: frozenset[int] = frozenset()  #: indices of GPUs that the queue may not use


def jobs_by_index(
    gpus: GpuOccupancies, running: Iterable[tuple[int, Sequence[str]]]
) -> dict[int, list[int]]:
    """The jobs on each GPU, by the index of the GPU."""
    all_gpus = [gpu for gpu, _ in gpus]
    jobs: dict[int, list[int]] = {}
    for job, names in running:
        for index in _indices(names, all_gpus):
            jobs.setdefault(index, []).append(job)
    return jobs


def find_unused(gpus: GpuOccupancies, slots: Sequence[str]) -> frozenset[int]:
    """The indices of the GPUs that the queue may not use.

    Args:
        slots: the GPUs that it may use; empty: all.
    """
    if not slots:
        return frozenset()
    return frozenset(range(len(gpus))) - _indices(slots, [gpu for gpu, _ in gpus])


def _indices(names: Iterable[str], gpus: Sequence[Gpu]) -> set[int]:
    indices = set()
    for name in names:
        gpu = find_gpu(name, gpus) or next((gpu for gpu in gpus if gpu.uuid == name), None)
        if gpu is not None:
            indices.add(gpus.index(gpu))
    return indices


def render_gpus(
    gpus: GpuOccupancies, names: Sequence[str], holders: GpuHolders, width: int, max_lines: int
) -> list[Line]:
    """A line for each GPU, or two GPUs in a line if they are many.

    Args:
        names: the name to show for each GPU.
        max_lines: the largest number of lines. The last one counts the GPUs that do not fit.
    """
    if len(gpus) > max_lines and width >= _TWO_GPUS_WIDTH:
        return _render_in_two(gpus, names, holders, width, max_lines)
    widths = _find_widths(gpus, names, width)
    rows = []
    for index, ((gpu, occupancy), name) in enumerate(zip(gpus, names, strict=True)):
        users = describe_holders(index, gpu, occupancy, holders)
        rows.append(fit(_render_gpu(gpu, name, users, widths), width))
    return _limit(rows, max_lines, len(rows) - max_lines + 1, width)


def describe_holders(index: int, gpu: Gpu, occupancy: Occupancy, holders: GpuHolders) -> Span:
    """Who uses the GPU, or that it is free."""
    style = _STYLES.get(occupancy.state, "")
    if gpu.fault:
        return Span(f"fault: {printable(gpu.fault)}", style)
    jobs = holders.jobs.get(index, ())
    names = [format_job_ids(jobs)] if jobs else []
    names += [
        f"{printable(lease.user)}'s {printable(lease.kind)}"
        for lease in occupancy.leases
        if not (jobs and _is_own_job(lease, holders.uid))
    ]
    if occupancy.strangers and occupancy.state != "free":
        names.append(_foreign_text(occupancy.strangers, alone=not occupancy.leases))
    text = "; ".join(dict.fromkeys(names)) or (
        "used by somebody unseen" if occupancy.state == "used" else occupancy.state
    )
    if occupancy.state == "shared":
        text += " (room for more)"
    if index in holders.unused:
        return Span(f"{text} (not the queue's)", "dim")
    return Span(text, style)


def short_name(name: str) -> str:
    """The name of a GPU model without vendor and memory; the memory has its own column."""
    for vendor in _VENDORS:
        name = name.removeprefix(vendor)
    return printable(_MEMORY.sub("", name, count=1))


def memory_text(gpu: Gpu, digits: int = 1) -> str:
    """`40.5/79.6G`."""
    if gpu.memory_used_mib is None or gpu.memory_total_mib is None:
        return "-"
    used_gib, total_gib = gpu.memory_used_mib / 1024, gpu.memory_total_mib / 1024
    return f"{used_gib:.{digits}f}/{total_gib:.{digits}f}G"


def render_gauge(gpu: Gpu, width: int) -> str:
    """A bar that shows how full the memory is."""
    if not gpu.memory_total_mib or gpu.memory_used_mib is None:
        return " " * width
    full = min(width, round(width * gpu.memory_used_mib / gpu.memory_total_mib))
    return _FULL * full + _EMPTY * (width - full)


def _is_own_job(lease: LeaseRecord, uid: int) -> bool:
    return lease.uid == uid and lease.kind == "job"


def _foreign_text(processes: Sequence[GpuProcess], *, alone: bool) -> str:
    """`used by bob: python 40 GiB`: the largest process, and how many more there are."""
    first = processes[0]
    owner = "used by " if alone else ""
    owner += f"{printable(first.user)}: " if first.user else ""
    name = printable(first.name) or f"process {first.pid}"
    memory = "" if first.memory_mib is None else f" {format_memory(first.memory_mib)}"
    more = f" and {len(processes) - 1} more" if len(processes) > 1 else ""
    return f"{owner}{name}{memory}{more}"


def _find_widths(gpus: GpuOccupancies, names: Sequence[str], width: int) -> tuple[int, int, int]:
    """The widths of the names, the models (0: no room) and the memory."""
    name_width = max(map(text_width, names), default=1)
    memory_width = max((len(memory_text(gpu)) for gpu, _ in gpus), default=1)
    model_width = max((text_width(short_name(gpu.name)) for gpu, _ in gpus), default=0)
    room = width - name_width - memory_width - _GAUGE - _OTHER_COLUMNS - _HOLDERS_WIDTH
    return name_width, min(model_width, room) if room >= _MIN_MODEL_WIDTH else 0, memory_width


def _format_value(value: float | None, unit: str, width: int) -> str:
    return " " * width if value is None else f"{value:.0f}{unit}".rjust(width)


def _render_gpu(gpu: Gpu, name: str, users: Span, widths: tuple[int, int, int]) -> Line:
    name_width, model_width, memory_width = widths
    busy_style = "bold" if (gpu.utilisation_percent or 0) >= 50 else ""
    spans = [
        Span(f" {fit_cell(printable(name), name_width, right=True)} ", "bold"),
        Span(f" {fit_cell(short_name(gpu.name), model_width)} " if model_width else ""),
    ]
    if gpu.memory_total_mib is not None:
        spans.append(Span(f" {render_gauge(gpu, _GAUGE)} {memory_text(gpu).rjust(memory_width)}"))
    elif memory_width > 1:
        spans.append(Span(" " * (_GAUGE + memory_width + 2)))
    if any(value is not None for value in (gpu.utilisation_percent, gpu.temperature_c)):
        spans.append(Span(f" {_format_value(gpu.utilisation_percent, '%', 4)}", busy_style))
        spans.append(Span(f" {_format_value(gpu.temperature_c, 'C', 4)}"))
    elif memory_width > 1:
        spans.append(Span(" " * 10))
    return (*spans, Span("  "), users)


def _render_in_two(
    gpus: GpuOccupancies, names: Sequence[str], holders: GpuHolders, width: int, max_lines: int
) -> list[Line]:
    """Two GPUs in a line, with memory in whole GiB; the left half has the first ones."""
    half = (width - 1) // 2
    name_width = max(map(text_width, names))
    gauge_width = _SMALL_GAUGE if name_width <= _MAX_GAUGED_NAME else 0
    memory_width = max(len(memory_text(gpu, digits=0)) for gpu, _ in gpus)
    cells = []
    for index, ((gpu, occupancy), name) in enumerate(zip(gpus, names, strict=True)):
        spans = (
            Span(f" {fit_cell(printable(name), name_width, right=True)} ", "bold"),
            Span(f"{render_gauge(gpu, gauge_width)} " if gauge_width else ""),
            Span(memory_text(gpu, digits=0).rjust(memory_width)),
            Span(f" {_format_value(gpu.utilisation_percent, '%', 4)}  "),
            describe_holders(index, gpu, occupancy, holders),
        )
        cells.append(fit(spans, half))
    count, blank = -(-len(cells) // 2), fit((), half)
    rows = [
        fit((*left, Span(" "), *right), width)
        for left, right in zip_longest(cells[:count], cells[count:], fillvalue=blank)
    ]
    return _limit(rows, max_lines, len(cells) - 2 * (max_lines - 1), width)


def _limit(rows: list[Line], max_lines: int, hidden: int, width: int) -> list[Line]:
    """At most `max_lines` rows; then the last one counts the GPUs that are left out."""
    if len(rows) <= max_lines:
        return rows
    text = line(Span(f" and {hidden} more: press g", "dim"))
    return [*rows[: max_lines - 1], fit(text, width)] if max_lines > 0 else []
