"""The table of jobs. Each column is as wide as the longest text in it. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    FAILED,
    HELD,
    LOST,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    QueuedJob,
)
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import text_width
from simple_gpu_scheduler.top.screen.spans import Line, Span, fit, fit_cell, line, restyle
from simple_gpu_scheduler.units.durations import format_duration

_TITLES = ("ID", "state", "GPUs", "time", "pri", "name", "command")
_RIGHT = (True, False, False, True, True, False, False)
_STATE, _NAME, _COMMAND = 1, 5, 6
_MAX_WIDTHS = (12, 16, 12, 7, 6, 16)  #: terminal columns; the command takes the rest
_MIN_COMMAND_WIDTH = 24  #: terminal columns; long names leave these to the command
_GAP = "  "
_MAX_COMMAND_BYTES = 4096
_MAX_IDS_WIDTH = 40  #: characters
_UUID_SHOWN = 12  #: characters
_STYLES = {
    RUNNING: "good",
    HELD: "warn",
    FAILED: "bad",
    LOST: "odd",
    SUCCEEDED: "dim",
    CANCELLED: "dim",
}


class TableContext(NamedTuple):
    """What the table needs to know besides the jobs."""

    now_s: float  #: wall clock
    how_it_ended: Callable[[QueuedJob], str]  #: describes the end of a job
    stopping: Collection[int] = ()  #: running jobs that were cancelled
    marked: Collection[int] = ()
    shift: int = 0  #: how many characters at the start of each command are not shown


def render_jobs(
    entries: Sequence[QueuedJob | None],
    context: TableContext,
    width: int,
    selected: int | None = None,
    nearby: Sequence[QueuedJob] = (),
) -> tuple[Line, list[Line]]:
    """The titles, and a line for each job, exactly `width` columns wide.

    Args:
        entries: the jobs; None for a job that was not read yet.
        selected: the index of the selected job in `entries`.
        nearby: jobs just before and after. Columns are wide enough for these as well, so that the
            widths do not change while the list scrolls.
    """
    rows = [None if entry is None else _cells(entry, context) for entry in entries]
    read_rows = [cells for cells in rows if cells is not None]
    widths = _find_widths([*read_rows, *(_cells(entry, context) for entry in nearby)], width)
    titles = line(Span("  " + _join_cells(_TITLES, widths), "heads"))
    lines = []
    for index, (entry, cells) in enumerate(zip(entries, rows, strict=True)):
        spans = (
            line("  ...") if entry is None or cells is None else _render_row(entry, cells, widths)
        )
        mark = "*" if entry is not None and entry.id in context.marked else " "
        cursor = ">" if index == selected else " "
        row = fit((Span(cursor + mark), *spans), width)
        lines.append(restyle(row, "selected") if index == selected else row)
    return titles, lines


def state_text(entry: QueuedJob, context: TableContext) -> str:
    """The state in a few words: `running`, `after 2 jobs`, `failed: exit 3`."""
    if entry.state == RUNNING:
        if entry.id in context.stopping:
            return "stopping"
        return RUNNING if entry.attempt < 2 else f"running, try {entry.attempt}"
    if entry.state == QUEUED:
        return _reason_text(entry, context.now_s) or QUEUED
    if entry.state == FAILED:
        ending = context.how_it_ended(entry).partition(";")[0].replace("SIG", "", 1)
        return f"{FAILED}: {printable(ending)}" if ending else FAILED
    return entry.state


def state_style(entry: QueuedJob) -> str:
    """The style of the job's state."""
    return _STYLES.get(entry.state, "")


def command_text(entry: QueuedJob) -> str:
    """The command as printable text; only its start if it is very long."""
    return printable(
        own_command(entry.command)[:_MAX_COMMAND_BYTES].decode(errors="backslashreplace")
    )


def label(entry: QueuedJob) -> str:
    """Group and name: `lr/first`."""
    return printable("/".join(filter(None, (entry.group, entry.name))))


def format_runtime(entry: QueuedJob, now_s: float) -> str:
    """How long the job has run so far, or ran; empty if it has not run."""
    if entry.started_s is None or entry.state in (QUEUED, HELD):
        return ""
    return format_duration((entry.ended_s or now_s) - entry.started_s)


def gpus_text(entry: QueuedJob) -> str:
    """The GPUs that the job has or had, `0-3,5`; in brackets what it asks for, `(2)`, `(1/4)`."""
    if entry.gpu_names and entry.state not in (QUEUED, HELD):
        return printable(join_ranges(map(_short_uuid, entry.gpu_names)))
    if entry.units < GPU_UNITS:
        return f"({entry.gpus}/{GPU_UNITS // entry.units})"
    return f"({entry.gpus})"


def join_ranges(names: Iterable[str]) -> str:
    """The names with commas; three or more successive numbers become a range, `0-3`."""
    ranges: list[list[str]] = []
    for name in names:
        last = ranges[-1][-1] if ranges else ""
        if name.isdecimal() and last.isdecimal() and int(name) == int(last) + 1:
            ranges[-1].append(name)
        else:
            ranges.append([name])
    return ",".join(
        f"{members[0]}-{members[-1]}" if len(members) > 2 else ",".join(members)
        for members in ranges
    )


def format_job_ids(jobs: Iterable[int]) -> str:
    """`job 3`, `jobs 3-5,9`; only their number if the list would be long."""
    ids = sorted(jobs)
    text = join_ranges(map(str, ids))
    if len(ids) == 1:
        return f"job {text}"
    return f"jobs {text}" if len(text) <= _MAX_IDS_WIDTH else f"{len(ids)} jobs"


def format_time(at_s: float, now_s: float) -> str:
    """`14:02`; `26 Nov` on another day."""
    then, now = time.localtime(at_s), time.localtime(now_s)
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%d %b", then)


def _short_uuid(gpu: str) -> str:
    """The start of a UUID; other names as they are."""
    return gpu[:_UUID_SHOWN] if gpu.startswith(("MIG-", "GPU-")) else gpu


def _reason_text(entry: QueuedJob, now_s: float) -> str:
    if entry.blockers:
        return f"after {entry.blockers} {'job' if entry.blockers == 1 else 'jobs'}"
    if entry.not_before_s is not None and entry.not_before_s > now_s:
        return f"from {format_time(entry.not_before_s, now_s)}"
    return ""


def _cells(entry: QueuedJob, context: TableContext) -> tuple[str, ...]:
    return (
        str(entry.id),
        state_text(entry, context),
        gpus_text(entry),
        format_runtime(entry, context.now_s) or "-",
        str(entry.priority) if entry.priority else "",
        label(entry),
        command_text(entry)[context.shift :],
    )


def _find_widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The widths of all columns but the command; 0 for a column without any text."""
    widths = []
    for column, max_width in enumerate(_MAX_WIDTHS):
        needed = max((text_width(row[column]) for row in rows), default=0)
        title = text_width(_TITLES[column])
        widths.append(min(max_width, max(needed, title)) if needed or column < 4 else 0)
    if widths[_NAME]:
        used = sum(column + len(_GAP) for column in widths if column) + len(_GAP)
        room = width - used - _MIN_COMMAND_WIDTH
        widths[_NAME] = max(min(6, widths[_NAME]), widths[_NAME] + min(0, room))
    return widths


def _pad_cells(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        fit_cell(text, width, right=right) + _GAP if width else ""
        for text, width, right in zip(cells, widths, _RIGHT, strict=False)
    ]


def _join_cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(_pad_cells(cells, widths)) + cells[_COMMAND]


def _render_row(entry: QueuedJob, cells: Sequence[str], widths: Sequence[int]) -> Line:
    padded = _pad_cells(cells, widths)
    style = "dim" if entry.state in (SUCCEEDED, CANCELLED) else ""
    before, after = "".join(padded[:_STATE]), "".join(padded[_STATE + 1 :])
    return line(
        Span(before, style), Span(padded[_STATE], state_style(entry)),
        Span(after + cells[_COMMAND], style),
    )  # fmt: skip
