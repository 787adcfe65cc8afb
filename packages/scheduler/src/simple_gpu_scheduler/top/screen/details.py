"""All facts about one job, as lines. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from simple_gpu_scheduler.queue.records import HELD, OPEN_STATES, QUEUED, QueuedJob
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.top.screen.header import Server
from simple_gpu_scheduler.top.screen.job_table import (
    TableContext,
    format_runtime,
    gpus_text,
    label,
    state_style,
    state_text,
)
from simple_gpu_scheduler.top.screen.spans import Line, Span, line, wrap
from simple_gpu_scheduler.units.sizes import format_memory

_COLUMN = 11


class JobFacts(NamedTuple):
    """Facts about a job that are not in its entry."""

    cwd: bytes = b""
    before: int | None = None  #: how many jobs start before it; None if it can't start yet
    log: str = ""  #: the path of its log


def render_details(
    entry: QueuedJob, facts: JobFacts, server: Server, context: TableContext, width: int
) -> list[Line]:
    """One or more lines for each fact, none wider than `width`."""
    rows: list[Line] = []
    for title, text, style in _rows(entry, facts, server, context):
        lines = wrap(text, max(1, width - _COLUMN - 2))
        for number, part in enumerate(lines):
            head = f" {title if number == 0 else ''}".ljust(_COLUMN + 1)
            rows.append(line(Span(head, "bold"), Span(part, style)))
    return rows


def why_it_waits(entry: QueuedJob, facts: JobFacts, server: Server, now_s: float) -> str:
    """Why a queued or held job has not started; empty for other jobs."""
    if entry.state == HELD:
        return "it is held (sgs release)"
    if entry.state != QUEUED:
        return ""
    if entry.blockers:
        return f"it depends on {entry.blockers} {'job' if entry.blockers == 1 else 'jobs'}"
    if entry.not_before_s is not None and entry.not_before_s > now_s:
        return f"not before {_format_time(entry.not_before_s)}"
    if server.drained:
        return "the queue is drained (sgs server resume)"
    if not server.runs:
        return "no server runs (sgs server start)"
    if facts.before:
        return f"{facts.before} {'job has' if facts.before == 1 else 'jobs have'} an earlier place"
    return "it is next; it waits for GPUs"


def _rows(
    entry: QueuedJob, facts: JobFacts, server: Server, context: TableContext
) -> Iterator[tuple[str, str, str]]:
    ending = printable(context.how_it_ended(entry))
    yield "state", f"{state_text(entry, context)}", state_style(entry)
    if entry.state not in OPEN_STATES and ending:
        yield "because", ending, ""
    reason = why_it_waits(entry, facts, server, context.now_s)
    if reason:
        yield "waits", reason, ""
    command = own_command(entry.command).decode(errors="backslashreplace").rstrip("\n")
    for number, text in enumerate(command.split("\n")):
        yield ("" if number else "command"), printable(text.expandtabs(4)), ""
    if facts.cwd:
        yield "in", printable(facts.cwd.decode(errors="backslashreplace")), ""
    yield "GPUs", _requested_text(entry), ""
    if label(entry):
        yield "name", label(entry), ""
    yield from _times(entry, context)
    if facts.log:
        yield "log", printable(facts.log), ""


def _requested_text(entry: QueuedJob) -> str:
    text = gpus_text(entry)
    if entry.memory_mib is not None:
        text += f", {format_memory(entry.memory_mib)} of each"
    elif entry.auto_memory:
        text += ", memory as measured"
    if entry.peak_vram_mib is not None:
        text += f", had {format_memory(entry.peak_vram_mib)}"
    return f"{text}, priority {entry.priority}"


def _times(entry: QueuedJob, context: TableContext) -> Iterator[tuple[str, str, str]]:
    yield "submitted", _format_time(entry.submitted_s), ""
    if entry.started_s is not None and entry.attempt:
        tries = "" if entry.tries == 1 else f" of {entry.tries or 'any number'}"
        yield "started", f"{_format_time(entry.started_s)}, attempt {entry.attempt}{tries}", ""
    if entry.ended_s is not None:
        after = format_runtime(entry, context.now_s)
        yield "ended", _format_time(entry.ended_s) + (f", after {after}" if after else ""), ""
    if entry.timeout_s is not None:
        yield "timeout", f"{entry.timeout_s:g} s", ""


def _format_time(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
