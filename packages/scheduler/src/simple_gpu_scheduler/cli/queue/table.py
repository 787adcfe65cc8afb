"""Jobs of the queue as a table: a pure function of what was seen, the time and the width."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.cli.queue.jobs import how_it_ended
from simple_gpu_scheduler.queue.records import HELD, QUEUED, QueuedJob
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop, pad, text_width
from simple_gpu_scheduler.units.durations import format_duration, format_since

_TITLES = ("ID", "state", "GPUs", "time", "group", "name", "command")
_ID, _STATE, _GPUS, _TIME, _GROUP, _NAME, _COMMAND = range(len(_TITLES))
_ALWAYS = (_ID, _STATE, _GPUS, _TIME, _COMMAND)
_GAP = "  "
_LEAST_COMMAND = 20  #: columns of a terminal, before others give way
#: Those that may be cut on a terminal, in this order, and what is left of them at least.
_GIVE_WAY = ((_NAME, 6), (_GROUP, 6), (_STATE, 9), (_GPUS, 6))


def table(rows: Sequence[QueuedJob | str], now_s: float, width: int | None = None) -> list[str]:
    """A line a job under a line of titles; a text among the jobs stands for some left out.

    Args:
        now_s: wall clock.
        width: of the terminal; None: everything is whole.
    """
    cells = [_TITLES, *(_cells(one, now_s) for one in rows if isinstance(one, QueuedJob))]
    if len(cells) == 1:
        return [one for one in rows if isinstance(one, str)]
    used = [n for n in range(len(_TITLES)) if n in _ALWAYS or any(row[n] for row in cells[1:])]
    widths = {n: max(text_width(row[n]) for row in cells) for n in used[:-1]}
    if width is not None:
        _fit(widths, width)
    lines = iter([_line(row, widths, width) for row in cells])
    first = next(lines)
    shown = [one if isinstance(one, str) else next(lines) for one in rows]
    return [first, *(line if width is None else crop(line, width) for line in shown)]


def _cells(entry: QueuedJob, now_s: float) -> tuple[str, ...]:
    return (
        str(entry.id),
        printable(_state(entry, now_s)),
        printable(",".join(entry.gpu_names)) or f"({entry.gpus})",
        _how_long(entry, now_s),
        printable(entry.group),
        printable(entry.name),
        printable(own_command(entry.command).decode(errors="replace")),
    )


def _state(entry: QueuedJob, now_s: float) -> str:
    how = how_it_ended(entry)
    waits = [] if entry.state not in (QUEUED, HELD) else _waits(entry, now_s)
    return entry.state + (f": {how}" if how else "") + (f" ({', '.join(waits)})" if waits else "")


def _waits(entry: QueuedJob, now_s: float) -> list[str]:
    """What it waits for beside GPUs."""
    needs = [f"waits for {entry.blockers}"] if entry.blockers else []
    is_early = entry.not_before_s is not None and entry.not_before_s > now_s
    return [*needs, f"from {format_since(entry.not_before_s or 0, now_s)}"] if is_early else needs


def _how_long(entry: QueuedJob, now_s: float) -> str:
    if entry.started_s is None or entry.state == "queued":
        return "-"
    return format_duration((entry.ended_s or now_s) - entry.started_s)


def _fit(widths: dict[int, int], width: int) -> None:
    """Let columns give way until the command has its room."""
    for column, least in _GIVE_WAY:
        too_long = sum(widths.values()) + len(_GAP) * len(widths) + _LEAST_COMMAND - width
        if column in widths and too_long > 0:
            least = min(widths[column], max(least, len(_TITLES[column])))
            widths[column] = max(least, widths[column] - too_long)


def _line(row: Sequence[str], widths: dict[int, int], width: int | None) -> str:
    parts = [pad(crop(row[n], wide), wide, right=False) for n, wide in widths.items()]
    line = _GAP.join([*parts, row[_COMMAND]]).rstrip()
    return line if width is None else crop(line, width)
