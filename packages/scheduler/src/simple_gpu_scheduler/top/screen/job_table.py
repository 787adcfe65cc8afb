"""The table of jobs: its columns, as wide as what is in them, and its lines. Pure."""

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
from simple_gpu_scheduler.top.screen.spans import Line, Piece, cell, fitted, in_style, line
from simple_gpu_scheduler.units.durations import format_duration

_TITLES = ("ID", "state", "GPUs", "time", "pri", "name", "command")
_RIGHT = (True, False, False, True, True, False, False)
_STATE, _NAME, _COMMAND = 1, 5, 6
_MOST = (12, 16, 12, 7, 6, 16)  #: columns of the terminal for each but the command
_LEAST_COMMAND = 24  #: columns that names leave to it
_GAP = "  "
_MOST_COMMAND_BYTES = 4096
_MOST_NUMBERS = 40  #: characters
_UUID_SHOWN = 12  #: characters
_STYLES = {
    RUNNING: "good",
    HELD: "warn",
    FAILED: "bad",
    LOST: "odd",
    SUCCEEDED: "dim",
    CANCELLED: "dim",
}


class Shown(NamedTuple):
    """What the table shows besides the jobs themselves."""

    now_s: float  #: wall clock
    how: Callable[[QueuedJob], str]  #: how a job ended, in words
    stopping: Collection[int] = ()  #: jobs that run and have been cancelled
    marked: Collection[int] = ()
    shift: int = 0  #: so many characters of the commands are left out at their beginning


def table(
    entries: Sequence[QueuedJob | None],
    shown: Shown,
    width: int,
    chosen: int | None = None,
    around: Sequence[QueuedJob] = (),
) -> tuple[Line, list[Line]]:
    """The titles, and a line for each job, exactly so wide.

    Args:
        entries: None for one that hasn't been read yet.
        chosen: the place of the chosen one among them.
        around: others for which there shall be room, too, so that columns keep their width when
            they come onto the screen.
    """
    cells = [None if one is None else _cells(one, shown) for one in entries]
    known = [one for one in cells if one is not None]
    widths = _widths([*known, *(_cells(one, shown) for one in around)], width)
    titles = line(Piece("  " + _joined(_TITLES, widths), "heads"))
    lines = []
    for place, (entry, texts) in enumerate(zip(entries, cells, strict=True)):
        pieces = line("  ...") if entry is None or texts is None else _row(entry, texts, widths)
        mark = "*" if entry is not None and entry.id in shown.marked else " "
        point = ">" if place == chosen else " "
        row = fitted((Piece(point + mark), *pieces), width)
        lines.append(in_style(row, "chosen") if place == chosen else row)
    return titles, lines


def state_text(entry: QueuedJob, shown: Shown) -> str:
    """The state in a few words: `running`, `after 2 jobs`, `failed: exit 3`."""
    if entry.state == RUNNING:
        if entry.id in shown.stopping:
            return "stopping"
        return RUNNING if entry.attempt < 2 else f"running, try {entry.attempt}"
    if entry.state == QUEUED:
        return _why_not_yet(entry, shown.now_s) or QUEUED
    if entry.state == FAILED:
        how = shown.how(entry).partition(";")[0].replace("SIG", "", 1)
        return f"{FAILED}: {printable(how)}" if how else FAILED
    return entry.state


def style_of(entry: QueuedJob) -> str:
    """The style of its state."""
    return _STYLES.get(entry.state, "")


def command_text(entry: QueuedJob) -> str:
    """The command, printable; its beginning, if it is very long."""
    return printable(
        own_command(entry.command)[:_MOST_COMMAND_BYTES].decode(errors="backslashreplace")
    )


def label(entry: QueuedJob) -> str:
    """Group and name: `lr/first`."""
    return printable("/".join(one for one in (entry.group, entry.name) if one))


def how_long(entry: QueuedJob, now_s: float) -> str:
    """How long it has run, or ran; empty if it didn't."""
    if entry.started_s is None or entry.state in (QUEUED, HELD):
        return ""
    return format_duration((entry.ended_s or now_s) - entry.started_s)


def gpus_text(entry: QueuedJob) -> str:
    """Those that it has or had, `0-3,5`; those that it asks for in brackets, `(2)`, `(1/4)`."""
    if entry.gpu_names and entry.state not in (QUEUED, HELD):
        return printable(in_ranges(map(_short, entry.gpu_names)))
    if entry.units < GPU_UNITS:
        return f"({entry.gpus}/{GPU_UNITS // entry.units})"
    return f"({entry.gpus})"


def in_ranges(names: Iterable[str]) -> str:
    """Numbers that follow one another as `0-3`; other names as they are."""
    runs: list[list[str]] = []
    for name in names:
        last = runs[-1][-1] if runs else ""
        if name.isdecimal() and last.isdecimal() and int(name) == int(last) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(run) for run in runs)


def numbers(jobs: Iterable[int]) -> str:
    """`job 3`, `jobs 3-5,9`; their count, if they are many."""
    found = sorted(jobs)
    text = in_ranges(map(str, found))
    if len(found) == 1:
        return f"job {text}"
    return f"jobs {text}" if len(text) <= _MOST_NUMBERS else f"{len(found)} jobs"


def clock_time(at_s: float, now_s: float) -> str:
    """`14:02`; `26 Nov` if that is another day."""
    then, now = time.localtime(at_s), time.localtime(now_s)
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%d %b", then)


def _short(gpu: str) -> str:
    """Of a UUID the beginning."""
    return gpu[:_UUID_SHOWN] if gpu.startswith(("MIG-", "GPU-")) else gpu


def _why_not_yet(entry: QueuedJob, now_s: float) -> str:
    if entry.blockers:
        return f"after {entry.blockers} {'job' if entry.blockers == 1 else 'jobs'}"
    if entry.not_before_s is not None and entry.not_before_s > now_s:
        return f"from {clock_time(entry.not_before_s, now_s)}"
    return ""


def _cells(entry: QueuedJob, shown: Shown) -> tuple[str, ...]:
    return (
        str(entry.id),
        state_text(entry, shown),
        gpus_text(entry),
        how_long(entry, shown.now_s) or "-",
        str(entry.priority) if entry.priority else "",
        label(entry),
        command_text(entry)[shown.shift :],
    )


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Of the columns but the last; 0 for one in which nothing is."""
    widths = []
    for column, most in enumerate(_MOST):
        needed = max((text_width(row[column]) for row in rows), default=0)
        title = text_width(_TITLES[column])
        widths.append(min(most, max(needed, title)) if needed or column < 4 else 0)
    if widths[_NAME]:
        used = sum(one + len(_GAP) for one in widths if one) + len(_GAP)
        room = width - used - _LEAST_COMMAND
        widths[_NAME] = max(min(6, widths[_NAME]), widths[_NAME] + min(0, room))
    return widths


def _padded(texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell(text, width, right=right) + _GAP if width else ""
        for text, width, right in zip(texts, widths, _RIGHT, strict=False)
    ]


def _joined(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(_padded(texts, widths)) + texts[_COMMAND]


def _row(entry: QueuedJob, texts: Sequence[str], widths: Sequence[int]) -> Line:
    cells = _padded(texts, widths)
    faint = "dim" if entry.state in (SUCCEEDED, CANCELLED) else ""
    before, after = "".join(cells[:_STATE]), "".join(cells[_STATE + 1 :])
    return line(
        Piece(before, faint), Piece(cells[_STATE], style_of(entry)),
        Piece(after + texts[_COMMAND], faint),
    )  # fmt: skip
