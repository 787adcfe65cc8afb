"""Jobs of the queue as a table. Pure: the time and the width are parameters."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.cli.queue.jobs import describe_state
from simple_gpu_scheduler.queue.records import HELD, QUEUED, QueuedJob
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.table import column_widths, format_row, narrow
from simple_gpu_scheduler.text.terminal import crop
from simple_gpu_scheduler.units.durations import format_duration, format_since

_TITLES = ("ID", "state", "GPUs", "time", "group", "name", "command")
_ID, _STATE, _GPUS, _TIME, _GROUP, _NAME, _COMMAND = range(len(_TITLES))
_ALWAYS = (_ID, _STATE, _GPUS, _TIME, _COMMAND)  #: shown even if all of their cells are empty
_LEAST_COMMAND = 20  #: width of the command, before other columns give way
#: The columns that may be cut on a terminal, in this order, and the width that each keeps.
_LEAST = {_NAME: 6, _GROUP: 6, _STATE: 9, _GPUS: 6}


def table(rows: Sequence[QueuedJob | str], now_s: float, width: int | None = None) -> list[str]:
    """Return a line of titles, and a line for each row.

    Args:
        rows: jobs, and texts that say how many jobs are left out in their place.
        now_s: wall clock.
        width: of the terminal; None: nothing is cut.
    """
    jobs = [_cells(row, now_s) for row in rows if isinstance(row, QueuedJob)]
    if not jobs:
        return [row for row in rows if isinstance(row, str)]
    used = [n for n in range(len(_TITLES)) if n in _ALWAYS or any(cells[n] for cells in jobs)]
    shown = [[cells[n] for n in used] for cells in (_TITLES, *jobs)]
    titles, *following = _lines(shown, used, width)
    remaining = iter(following)
    lines = [titles, *(row if isinstance(row, str) else next(remaining) for row in rows)]
    return lines if width is None else [crop(line, width) for line in lines]


def _lines(rows: Sequence[Sequence[str]], used: Sequence[int], width: int | None) -> list[str]:
    """Return the lines of these rows; the command, which is last, gets what is left."""
    widths = column_widths(row[:-1] for row in rows)
    if width is not None:
        least = {
            used.index(n): max(kept, len(_TITLES[n])) for n, kept in _LEAST.items() if n in used
        }
        widths = narrow([*widths, _LEAST_COMMAND], least, width)[:-1]
    return [format_row(row, widths, [False] * len(widths)) for row in rows]


def _cells(job: QueuedJob, now_s: float) -> tuple[str, ...]:
    return (
        str(job.id),
        printable(_state(job, now_s)),
        printable(",".join(job.gpu_names)) or f"({job.gpus})",
        _runtime(job, now_s),
        printable(job.group),
        printable(job.name),
        printable(own_command(job.command).decode(errors="replace")),
    )


def _state(job: QueuedJob, now_s: float) -> str:
    waits = _waits(job, now_s) if job.state in (QUEUED, HELD) else []
    return describe_state(job) + (f" ({', '.join(waits)})" if waits else "")


def _waits(job: QueuedJob, now_s: float) -> list[str]:
    """Return what the job waits for beside GPUs: other jobs, and a time."""
    waits = [f"waits for {job.blockers}"] if job.blockers else []
    if job.not_before_s is not None and job.not_before_s > now_s:
        waits.append(f"from {format_since(job.not_before_s, now_s)}")
    return waits


def _runtime(job: QueuedJob, now_s: float) -> str:
    if job.started_s is None or job.state == QUEUED:
        return "-"
    return format_duration((job.ended_s or now_s) - job.started_s)
