"""The header, the line above the log, and the height of each part of the screen. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.occupancy import Occupancy
from simple_gpu_scheduler.gpus.records import Gpu
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    FAILED,
    HELD,
    LOST,
    OPEN_STATES,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    QueuedJob,
)
from simple_gpu_scheduler.top.screen.job_table import (
    TableContext,
    format_runtime,
    gpus_text,
    label,
    state_style,
    state_text,
)
from simple_gpu_scheduler.top.screen.spans import Line, Span, columns_of, fit, justify, line

_FIXED_LINES = 4  #: header, titles of the jobs, the line above the log, footer
_LEAST_LOG, _LEAST_JOBS = 3, 3
_ENOUGH = 10  #: lines for jobs and log together, before GPUs get more than a third
_RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
#: The states that are counted, and their styles. In a narrow line the last ones are left out.
_COUNTED = (
    (RUNNING, "good"), (QUEUED, ""), (FAILED, "bad"), (HELD, "warn"), (LOST, "odd"),
    (SUCCEEDED, ""), (CANCELLED, ""),
)  # fmt: skip


class Heights(NamedTuple):
    """The number of lines of each part."""

    gpus: int
    jobs: int  #: without the line of titles
    log: int


class Server(NamedTuple):
    """The state of the queue's server."""

    runs: bool = True
    drained: bool = False


def divide_lines(lines: int, gpus: int, jobs: int) -> Heights:
    """Divide the lines of a screen among its parts.

    Args:
        lines: the lines of the screen.
        gpus: the number of GPUs.
        jobs: the number of jobs in the list; the log gets the lines that they leave.
    """
    rest = max(0, lines - _FIXED_LINES)
    for_gpus = max(0, min(gpus, max(rest // 3, rest - _ENOUGH), rest - _LEAST_JOBS))
    rest -= for_gpus
    most = rest if rest < _LEAST_JOBS + _LEAST_LOG else max(_LEAST_JOBS, rest * 3 // 5)
    for_jobs = min(most, max(_LEAST_JOBS, jobs), rest)
    return Heights(for_gpus, for_jobs, rest - for_jobs)


def render_header(
    host: str, counts: Mapping[str, int], server: Server, gpus: Sequence[tuple[Gpu, Occupancy]],
    now_s: float, width: int,
) -> Line:  # fmt: skip
    """The host, what is wrong, the free GPUs, the number of jobs in each state, and the time."""
    clock = line(time.strftime("  %H:%M ", time.localtime(now_s)))
    left = [Span(f" {host}", "title"), *_render_problem(counts, server), *_render_free(gpus)]
    if not counts:
        left.append(Span("  the queue is empty"))
    room = width - columns_of(clock)
    for state, style in _COUNTED:
        if counts.get(state):
            span = Span(f"  {counts[state]} {state}", style)
            if columns_of((*left, span)) > room:
                break
            left.append(span)
    return fit(justify(left, clock, width), width)


def render_log_title(
    entry: QueuedJob | None,
    context: TableContext,
    message: Span | None,
    width: int,
    *,
    full: bool = False,
) -> Line:
    """The line above the log: the job at the left, and the last message at the right.

    Args:
        full: also show the runtime and the GPUs. The full-screen log has no list that shows them.
    """
    right = (
        line(Span(f" {message.text} ", message.style))
        if message is not None and message.text
        else ()
    )
    if entry is None:
        return justify(line(Span(_RULE * 2 + " no job ", "dim")), right, width, _RULE)
    facts = [f"job {entry.id}", state_text(entry, context)]
    if entry.started_s is not None and full:
        facts += [format_runtime(entry, context.now_s), f"GPU {gpus_text(entry)}"]
    facts += [label(entry)] if label(entry) else []
    left = line(
        Span(_RULE * 2 + " ", "dim"), Span(facts[0], "title"),
        Span(" "), Span(facts[1], state_style(entry)),
        Span("".join(f" {fact}" for fact in facts[2:] if fact) + " "), Span(_RULE, "dim"),
    )  # fmt: skip
    return justify(left, right, width, _RULE)


def render_range(view: str, filter_text: str, first: int, rows: int, total: int) -> Line:
    """The view, its filter, and the lines on the screen: `all "lr" 1-7 of 100012`."""
    title = f'{view} "{filter_text}"' if filter_text else view
    if not total:
        return line(Span(f" {title}: none ", "heads"))
    last = min(total, first + rows)
    return line(Span(f" {title} {first + 1}-{last} of {total} ", "heads"))


def _render_free(gpus: Sequence[tuple[Gpu, Occupancy]]) -> list[Span]:
    if not gpus:
        return []
    free = sum(occupancy.state == "free" for _, occupancy in gpus)
    return [Span(f"  {free} of {len(gpus)} GPU{'' if len(gpus) == 1 else 's'} free")]


def _render_problem(counts: Mapping[str, int], server: Server) -> list[Span]:
    if server.drained:
        return [Span("  drained: nothing starts", "warn")]
    if not server.runs and any(counts.get(state) for state in OPEN_STATES):
        return [Span("  no server runs (sgs server start)", "bad")]
    return []
