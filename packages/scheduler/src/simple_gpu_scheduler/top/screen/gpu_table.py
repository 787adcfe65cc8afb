"""GPUs as lines: how full, how busy, and who has them. Pure."""

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
from simple_gpu_scheduler.top.screen.job_table import numbers
from simple_gpu_scheduler.top.screen.spans import Line, Span, cell, fitted, line
from simple_gpu_scheduler.units.sizes import show_memory

GpuOccupancies = Sequence[tuple[Gpu, Occupancy]]

_STYLES = {"free": "good", "used": "warn", "fault": "bad"}
_LEAST_NAME = 8
_BETWEEN = 20  #: columns between the others, and for use and temperature
_WHO = 25  #: columns for who has it, before models are shown
_GAUGE, _SMALL_GAUGE = 10, 5
_SHORT = 3  #: columns of a GPU's name beside which there is room for a gauge in half a line
_TWO_FROM = 76  #: terminal columns from which two GPUs fit into a line
_FULL, _EMPTY = "\N{FULL BLOCK}", "\N{MIDDLE DOT}"
_VENDORS = ("NVIDIA ", "AMD ", "GeForce ")
_MEMORY = re.compile(r"(?<=\S) \d+ ?GB( HBM\w+)?")


class GpuHolders(NamedTuple):
    """What is needed to name those who have GPUs."""

    jobs: Mapping[int, Sequence[int]]  #: jobs of this queue, by the place of the GPU
    uid: int  #: whose queue it is
    theirs: frozenset[int] = frozenset()  #: places of GPUs that the queue doesn't use


def jobs_by_place(
    gpus: GpuOccupancies, running: Iterable[tuple[int, Sequence[str]]]
) -> dict[int, list[int]]:
    """The jobs on each GPU, by its place."""
    known_gpus = [gpu for gpu, _ in gpus]
    jobs: dict[int, list[int]] = {}
    for job, names in running:
        for place in _places(names, known_gpus):
            jobs.setdefault(place, []).append(job)
    return jobs


def not_used(gpus: GpuOccupancies, chosen: Sequence[str]) -> frozenset[int]:
    """The places of GPUs that the queue was not given; empty if it uses all."""
    if not chosen:
        return frozenset()
    return frozenset(range(len(gpus))) - _places(chosen, [gpu for gpu, _ in gpus])


def _places(names: Iterable[str], gpus: Sequence[Gpu]) -> set[int]:
    places = set()
    for name in names:
        gpu = find_gpu(name, gpus) or next((gpu for gpu in gpus if gpu.uuid == name), None)
        if gpu is not None:
            places.add(gpus.index(gpu))
    return places


def gpu_lines(
    gpus: GpuOccupancies, names: Sequence[str], holders: GpuHolders, width: int, most: int
) -> list[Line]:
    """A line for each GPU; two in a line where they are many, and then how many are left out.

    Args:
        names: what to call each GPU.
        most: the largest number of lines.
    """
    if len(gpus) > most and width >= _TWO_FROM:
        return _in_two(gpus, names, holders, width, most)
    widths = _widths(gpus, names, width)
    rows = [
        fitted(_gpu_line(pair, name, who(place, *pair, holders), widths), width)
        for place, (pair, name) in enumerate(zip(gpus, names, strict=True))
    ]
    return _cut(rows, most, len(rows) - most + 1, width)


def who(place: int, gpu: Gpu, occupancy: Occupancy, holders: GpuHolders) -> Span:
    """Who has the GPU, or that it is free."""
    style = _STYLES.get(occupancy.state, "")
    if gpu.fault:
        return Span(f"fault: {printable(gpu.fault)}", style)
    jobs = holders.jobs.get(place, ())
    names = [numbers(jobs)] if jobs else []
    names += [
        f"{printable(lease.user)}'s {printable(lease.kind)}"
        for lease in occupancy.leases
        if not (jobs and _is_the_queues(lease, holders.uid))
    ]
    if occupancy.strangers and occupancy.state != "free":
        names.append(_strangers(occupancy.strangers, alone=not occupancy.leases))
    text = "; ".join(dict.fromkeys(names)) or (
        "used by somebody unseen" if occupancy.state == "used" else occupancy.state
    )
    if occupancy.state == "shared":
        text += " (room for more)"
    if place in holders.theirs:
        return Span(f"{text} (not the queue's)", "dim")
    return Span(text, style)


def short_name(name: str) -> str:
    """The name of a GPU model, without the vendor and the memory, which has its own column."""
    for vendor in _VENDORS:
        name = name.removeprefix(vendor)
    return printable(_MEMORY.sub("", name, count=1))


def memory_text(gpu: Gpu, digits: int = 1) -> str:
    """`40.5/79.6G`."""
    if gpu.memory_used_mib is None or gpu.memory_total_mib is None:
        return "-"
    used_gib, total_gib = gpu.memory_used_mib / 1024, gpu.memory_total_mib / 1024
    return f"{used_gib:.{digits}f}/{total_gib:.{digits}f}G"


def gauge(gpu: Gpu, width: int) -> str:
    """How full its memory is."""
    if not gpu.memory_total_mib or gpu.memory_used_mib is None:
        return " " * width
    full = min(width, round(width * gpu.memory_used_mib / gpu.memory_total_mib))
    return _FULL * full + _EMPTY * (width - full)


def _is_the_queues(lease: LeaseRecord, uid: int) -> bool:
    return lease.uid == uid and lease.kind == "job"


def _strangers(processes: Sequence[GpuProcess], *, alone: bool) -> str:
    """`used by bob: python 40 GiB`: the largest, and how many more."""
    first = processes[0]
    owner = "used by " if alone else ""
    owner += f"{printable(first.user)}: " if first.user else ""
    name = printable(first.name) or f"process {first.pid}"
    memory = "" if first.memory_mib is None else f" {show_memory(first.memory_mib)}"
    more = f" and {len(processes) - 1} more" if len(processes) > 1 else ""
    return f"{owner}{name}{memory}{more}"


def _widths(gpus: GpuOccupancies, names: Sequence[str], width: int) -> tuple[int, int, int]:
    """The widths of the names of GPUs, of their models (0: no room for them) and of the memory."""
    called = max(map(text_width, names), default=1)
    memory = max((len(memory_text(gpu)) for gpu, _ in gpus), default=1)
    model = max((text_width(short_name(gpu.name)) for gpu, _ in gpus), default=0)
    room = width - called - memory - _GAUGE - _BETWEEN - _WHO
    return called, min(model, room) if room >= _LEAST_NAME else 0, memory


def _or_blank(value: float | None, unit: str, width: int) -> str:
    return " " * width if value is None else f"{value:.0f}{unit}".rjust(width)


def _gpu_line(
    pair: tuple[Gpu, Occupancy], name: str, holder: Span, widths: tuple[int, int, int]
) -> Line:
    gpu, _ = pair
    called, model, memory = widths
    busy = "bold" if (gpu.utilisation_percent or 0) >= 50 else ""
    spans = [
        Span(f" {cell(printable(name), called, right=True)} ", "bold"),
        Span(f" {cell(short_name(gpu.name), model)} " if model else ""),
    ]
    if gpu.memory_total_mib is not None:
        spans.append(Span(f" {gauge(gpu, _GAUGE)} {memory_text(gpu).rjust(memory)}"))
    elif memory > 1:
        spans.append(Span(" " * (_GAUGE + memory + 2)))
    if any(value is not None for value in (gpu.utilisation_percent, gpu.temperature_c)):
        spans.append(Span(f" {_or_blank(gpu.utilisation_percent, '%', 4)}", busy))
        spans.append(Span(f" {_or_blank(gpu.temperature_c, 'C', 4)}"))
    elif memory > 1:
        spans.append(Span(" " * 10))
    return (*spans, Span("  "), holder)


def _in_two(
    gpus: GpuOccupancies, names: Sequence[str], holders: GpuHolders, width: int, most: int
) -> list[Line]:
    """Two in a line, in whole GiB; they run down, as people read columns."""
    half = (width - 1) // 2
    called = max(map(text_width, names))
    memory = max(len(memory_text(gpu, digits=0)) for gpu, _ in gpus)
    cells = []
    for place, (pair, name) in enumerate(zip(gpus, names, strict=True)):
        spans = (
            Span(f" {cell(printable(name), called, right=True)} ", "bold"),
            Span(f"{gauge(pair[0], _SMALL_GAUGE)} " if called <= _SHORT else ""),
            Span(memory_text(pair[0], digits=0).rjust(memory)),
            Span(f" {_or_blank(pair[0].utilisation_percent, '%', 4)}  "),
            who(place, *pair, holders),
        )
        cells.append(fitted(spans, half))
    count, blank = -(-len(cells) // 2), fitted((), half)
    rows = [
        fitted((*left, Span(" "), *right), width)
        for left, right in zip_longest(cells[:count], cells[count:], fillvalue=blank)
    ]
    return _cut(rows, most, len(cells) - 2 * (most - 1), width)


def _cut(rows: list[Line], most: int, hidden: int, width: int) -> list[Line]:
    """At most `most` lines; the last one counts the GPUs that are left out."""
    if len(rows) <= most:
        return rows
    text = line(Span(f" and {hidden} more: press g", "dim"))
    return [*rows[: most - 1], fitted(text, width)] if most > 0 else []
