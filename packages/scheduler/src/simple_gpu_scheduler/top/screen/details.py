"""All about one job, as lines of text. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from simple_gpu_scheduler.queue.records import HELD, OPEN_STATES, QUEUED, QueuedJob
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.top.screen.header import Server
from simple_gpu_scheduler.top.screen.job_table import (
    Shown,
    gpus_text,
    how_long,
    label,
    state_text,
    style_of,
)
from simple_gpu_scheduler.top.screen.spans import Line, Piece, line, wrapped
from simple_gpu_scheduler.units.sizes import format_memory

_COLUMN = 11


class Known(NamedTuple):
    """What is known of a job besides its entry."""

    cwd: bytes = b""
    before: int | None = None  #: jobs whose turn is earlier
    log: str = ""  #: path


def details(
    entry: QueuedJob, known: Known, server: Server, shown: Shown, width: int
) -> list[Line]:
    """The lines, none wider than that."""
    found: list[Line] = []
    for title, text, style in _facts(entry, known, server, shown):
        lines = wrapped(text, max(1, width - _COLUMN - 2))
        for number, one in enumerate(lines):
            head = f" {title if number == 0 else ''}".ljust(_COLUMN + 1)
            found.append(line(Piece(head, "bold"), Piece(one, style)))
    return found


def why_it_waits(entry: QueuedJob, known: Known, server: Server, now_s: float) -> str:
    """Why a job that waits hasn't started; empty for others."""
    if entry.state == HELD:
        return "it is held: h releases it"
    if entry.state != QUEUED:
        return ""
    if entry.blockers:
        return f"it needs {entry.blockers} more {'job' if entry.blockers == 1 else 'jobs'} to end"
    if entry.not_before_s is not None and entry.not_before_s > now_s:
        return f"not before {_moment(entry.not_before_s)}"
    if server.drained:
        return "the queue is drained (sgs server resume)"
    if not server.runs:
        return "no server runs (sgs server start)"
    if known.before:
        return f"{known.before} {'job has' if known.before == 1 else 'jobs have'} an earlier turn"
    return "it is the next; it waits for GPUs"


def _facts(
    entry: QueuedJob, known: Known, server: Server, shown: Shown
) -> Iterator[tuple[str, str, str]]:
    how = printable(shown.how(entry))
    yield "state", f"{state_text(entry, shown)}", style_of(entry)
    if entry.state not in OPEN_STATES and how:
        yield "because", how, ""
    waits = why_it_waits(entry, known, server, shown.now_s)
    if waits:
        yield "waits", waits, ""
    command = own_command(entry.command).decode(errors="backslashreplace").rstrip("\n")
    for number, one in enumerate(command.split("\n")):
        yield ("" if number else "command"), printable(one.expandtabs(4)), ""
    if known.cwd:
        yield "in", printable(known.cwd.decode(errors="backslashreplace")), ""
    yield "GPUs", _asked(entry), ""
    if label(entry):
        yield "name", label(entry), ""
    yield from _times(entry, shown)
    if known.log:
        yield "log", printable(known.log), ""


def _asked(entry: QueuedJob) -> str:
    text = gpus_text(entry)
    if entry.memory_mib is not None:
        text += f", {format_memory(entry.memory_mib)} of each"
    elif entry.auto_memory:
        text += ", memory as measured"
    if entry.peak_vram_mib is not None:
        text += f", had {format_memory(entry.peak_vram_mib)}"
    return f"{text}, priority {entry.priority}"


def _times(entry: QueuedJob, shown: Shown) -> Iterator[tuple[str, str, str]]:
    yield "submitted", _moment(entry.submitted_s), ""
    if entry.started_s is not None and entry.attempt:
        tries = "" if entry.tries == 1 else f" of {entry.tries or 'any number'}"
        yield "started", f"{_moment(entry.started_s)}, attempt {entry.attempt}{tries}", ""
    if entry.ended_s is not None:
        after = how_long(entry, shown.now_s)
        yield "ended", _moment(entry.ended_s) + (f", after {after}" if after else ""), ""
    if entry.timeout_s is not None:
        yield "timeout", f"{entry.timeout_s:g} s", ""


def _moment(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
