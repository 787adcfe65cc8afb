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
from simple_gpu_scheduler.top.screen.spans import Line, Piece, cell, fitted, line
from simple_gpu_scheduler.units.sizes import show_memory

Seen = Sequence[tuple[Gpu, Occupancy]]

_STYLES = {"free": "good", "used": "warn", "fault": "bad"}
_LEAST_NAME = 8
_BETWEEN = 20  #: columns between the others, and for use and temperature
_WHO = 25  #: columns for who has it, before cards have names
_GAUGE, _SMALL_GAUGE = 10, 5
_SHORT = 3  #: columns of a GPU's name beside which there is room for a gauge in half a line
_TWO_FROM = 76  #: terminal columns from which two GPUs fit into a line
_FULL, _EMPTY = "\N{FULL BLOCK}", "\N{MIDDLE DOT}"
_VENDORS = ("NVIDIA ", "AMD ", "GeForce ")
_MEMORY = re.compile(r"(?<=\S) \d+ ?GB( HBM\w+)?")


class Holding(NamedTuple):
    """Who is who among those that have GPUs."""

    jobs: Mapping[int, Sequence[int]]  #: jobs of this queue, by the place of the GPU
    uid: int  #: whose queue it is
    theirs: frozenset[int] = frozenset()  #: places of GPUs that the queue doesn't use


def jobs_by_place(
    seen: Seen, running: Iterable[tuple[int, Sequence[str]]]
) -> dict[int, list[int]]:
    """The jobs on each GPU, by its place."""
    gpus = [gpu for gpu, _ in seen]
    found: dict[int, list[int]] = {}
    for job, names in running:
        for place in _places(names, gpus):
            found.setdefault(place, []).append(job)
    return found


def not_used(seen: Seen, chosen: Sequence[str]) -> frozenset[int]:
    """The places of GPUs that aren't among those that were chosen; none if none were."""
    if not chosen:
        return frozenset()
    return frozenset(range(len(seen))) - _places(chosen, [gpu for gpu, _ in seen])


def _places(names: Iterable[str], gpus: Sequence[Gpu]) -> set[int]:
    found = set()
    for name in names:
        gpu = find_gpu(name, gpus) or next((one for one in gpus if one.uuid == name), None)
        if gpu is not None:
            found.add(gpus.index(gpu))
    return found


def card_lines(
    seen: Seen, names: Sequence[str], holding: Holding, width: int, most: int
) -> list[Line]:
    """A line a GPU; where those are too many, two in a line, and then how many there are more.

    Args:
        names: what to call each GPU.
        most: so many lines at most.
    """
    if len(seen) > most and width >= _TWO_FROM:
        return _in_two(seen, names, holding, width, most)
    widths = _widths(seen, names, width)
    rows = [
        fitted(_card(one, name, who(place, *one, holding), widths), width)
        for place, (one, name) in enumerate(zip(seen, names, strict=True))
    ]
    return _cut(rows, most, len(rows) - most + 1, width)


def who(place: int, gpu: Gpu, one: Occupancy, holding: Holding) -> Piece:
    """Why it isn't free, or that it is."""
    style = _STYLES.get(one.state, "")
    if gpu.fault:
        return Piece(f"fault: {printable(gpu.fault)}", style)
    jobs = holding.jobs.get(place, ())
    holders = [numbers(jobs)] if jobs else []
    holders += [
        f"{printable(lease.user)}'s {printable(lease.kind)}"
        for lease in one.leases
        if not (jobs and _is_the_queues(lease, holding.uid))
    ]
    if one.foreign and one.state != "free":
        holders.append(_strangers(one.foreign, alone=not one.leases))
    text = "; ".join(dict.fromkeys(holders)) or (
        "used by somebody unseen" if one.state == "used" else one.state
    )
    if one.state == "shared":
        text += " (room for more)"
    if place in holding.theirs:
        return Piece(f"{text} (not the queue's)", "dim")
    return Piece(text, style)


def short_name(name: str) -> str:
    """What cards are called, without the vendor and the memory, which has a column of its own."""
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


def _strangers(found: Sequence[GpuProcess], *, alone: bool) -> str:
    """`used by bob: python 40 GiB`: the largest, and how many more."""
    first = found[0]
    owner = "used by " if alone else ""
    owner += f"{printable(first.user)}: " if first.user else ""
    name = printable(first.name) or f"process {first.pid}"
    memory = "" if first.memory_mib is None else f" {show_memory(first.memory_mib)}"
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{owner}{name}{memory}{more}"


def _widths(seen: Seen, names: Sequence[str], width: int) -> tuple[int, int, int]:
    """Of what GPUs are called, of the cards' names (0: no room for them), of the memory."""
    called = max(map(text_width, names), default=1)
    memory = max((len(memory_text(gpu)) for gpu, _ in seen), default=1)
    card = max((text_width(short_name(gpu.name)) for gpu, _ in seen), default=0)
    room = width - called - memory - _GAUGE - _BETWEEN - _WHO
    return called, min(card, room) if room >= _LEAST_NAME else 0, memory


def _or_blank(value: float | None, unit: str, width: int) -> str:
    return " " * width if value is None else f"{value:.0f}{unit}".rjust(width)


def _card(
    one: tuple[Gpu, Occupancy], name: str, holder: Piece, widths: tuple[int, int, int]
) -> Line:
    gpu, _ = one
    called, card, memory = widths
    busy = "bold" if (gpu.utilisation_percent or 0) >= 50 else ""
    pieces = [
        Piece(f" {cell(printable(name), called, right=True)} ", "bold"),
        Piece(f" {cell(short_name(gpu.name), card)} " if card else ""),
    ]
    if gpu.memory_total_mib is not None:
        pieces.append(Piece(f" {gauge(gpu, _GAUGE)} {memory_text(gpu).rjust(memory)}"))
    elif memory > 1:
        pieces.append(Piece(" " * (_GAUGE + memory + 2)))
    if any(value is not None for value in (gpu.utilisation_percent, gpu.temperature_c)):
        pieces.append(Piece(f" {_or_blank(gpu.utilisation_percent, '%', 4)}", busy))
        pieces.append(Piece(f" {_or_blank(gpu.temperature_c, 'C', 4)}"))
    elif memory > 1:
        pieces.append(Piece(" " * 10))
    return (*pieces, Piece("  "), holder)


def _in_two(
    seen: Seen, names: Sequence[str], holding: Holding, width: int, most: int
) -> list[Line]:
    """Two in a line, in whole GiB; they run down, as people read columns."""
    half = (width - 1) // 2
    called = max(map(text_width, names))
    memory = max(len(memory_text(gpu, digits=0)) for gpu, _ in seen)
    cells = []
    for place, (one, name) in enumerate(zip(seen, names, strict=True)):
        pieces = (
            Piece(f" {cell(printable(name), called, right=True)} ", "bold"),
            Piece(f"{gauge(one[0], _SMALL_GAUGE)} " if called <= _SHORT else ""),
            Piece(memory_text(one[0], digits=0).rjust(memory)),
            Piece(f" {_or_blank(one[0].utilisation_percent, '%', 4)}  "),
            who(place, *one, holding),
        )
        cells.append(fitted(pieces, half))
    count, blank = -(-len(cells) // 2), fitted((), half)
    rows = [
        fitted((*left, Piece(" "), *right), width)
        for left, right in zip_longest(cells[:count], cells[count:], fillvalue=blank)
    ]
    return _cut(rows, most, len(cells) - 2 * (most - 1), width)


def _cut(rows: list[Line], most: int, hidden: int, width: int) -> list[Line]:
    """So many lines at most, the last of which tells what isn't there."""
    if len(rows) <= most:
        return rows
    told = line(Piece(f" and {hidden} more: press g", "dim"))
    return [*rows[: most - 1], fitted(told, width)] if most > 0 else []
