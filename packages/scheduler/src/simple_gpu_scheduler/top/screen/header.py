"""What surrounds the lists: the header, the line over the log, and the height of each part."""

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
    gpus_text,
    how_long,
    label,
    state_text,
    style_of,
)
from simple_gpu_scheduler.top.screen.spans import Line, Span, both_ends, fitted, line, width_of

_FIXED_LINES = 4  #: header, titles of the jobs, the line over the log, footer
_LEAST_LOG, _LEAST_JOBS = 3, 3
_ENOUGH = 10  #: lines for jobs and log together, before GPUs get more than a third
_RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
#: In the order in which they are left out where the line is too narrow, the first one last.
_COUNTED = (
    (RUNNING, "good"), (QUEUED, ""), (FAILED, "bad"), (HELD, "warn"), (LOST, "odd"),
    (SUCCEEDED, ""), (CANCELLED, ""),
)  # fmt: skip


class Heights(NamedTuple):
    """Lines of the screen for each part."""

    cards: int
    jobs: int  #: without the line of titles
    log: int


class Server(NamedTuple):
    """Who starts the jobs."""

    runs: bool = True
    drained: bool = False


def heights(lines: int, cards: int, jobs: int) -> Heights:
    """Divide a screen.

    Args:
        lines: of the screen.
        cards: GPUs there are.
        jobs: jobs in the list; where they are few, the log gets what they leave.
    """
    rest = max(0, lines - _FIXED_LINES)
    for_cards = max(0, min(cards, max(rest // 3, rest - _ENOUGH), rest - _LEAST_JOBS))
    rest -= for_cards
    most = rest if rest < _LEAST_JOBS + _LEAST_LOG else max(_LEAST_JOBS, rest * 3 // 5)
    for_jobs = min(most, max(_LEAST_JOBS, jobs), rest)
    return Heights(for_cards, for_jobs, rest - for_jobs)


def header(
    host: str, counts: Mapping[str, int], server: Server, gpus: Sequence[tuple[Gpu, Occupancy]],
    now_s: float, width: int,
) -> Line:  # fmt: skip
    """The host, how many jobs there are, and what is wrong."""
    clock = line(time.strftime("  %H:%M ", time.localtime(now_s)))
    left = [Span(f" {host}", "title"), *_trouble(counts, server), *_free(gpus)]
    if not counts:
        left.append(Span("  the queue is empty"))
    room = width - width_of(clock)
    for state, style in _COUNTED:
        if counts.get(state):
            span = Span(f"  {counts[state]} {state}", style)
            if width_of((*left, span)) > room:
                break
            left.append(span)
    return fitted(both_ends(left, clock, width), width)


def log_title(
    entry: QueuedJob | None,
    context: TableContext,
    message: Span | None,
    width: int,
    *,
    full: bool = False,
) -> Line:
    """The line over the log: its job at the left, and at the right what was just done.

    Args:
        full: it is the only line about the job, so that it also tells how long it has run.
    """
    right = (
        line(Span(f" {message.text} ", message.style))
        if message is not None and message.text
        else ()
    )
    if entry is None:
        return both_ends(line(Span(_RULE * 2 + " no job ", "dim")), right, width, _RULE)
    facts = [f"job {entry.id}", state_text(entry, context)]
    if entry.started_s is not None and full:
        facts += [how_long(entry, context.now_s), f"GPU {gpus_text(entry)}"]
    facts += [label(entry)] if label(entry) else []
    left = line(
        Span(_RULE * 2 + " ", "dim"), Span(facts[0], "title"),
        Span(" "), Span(facts[1], style_of(entry)),
        Span("".join(f" {fact}" for fact in facts[2:] if fact) + " "), Span(_RULE, "dim"),
    )  # fmt: skip
    return both_ends(left, right, width, _RULE)


def where_in_list(view: str, words: str, first: int, rows: int, total: int) -> Line:
    """What is listed, and which lines of it are on the screen: `all "lr" 1-7 of 100012`."""
    what = f'{view} "{words}"' if words else view
    if not total:
        return line(Span(f" {what}: none ", "heads"))
    last = min(total, first + rows)
    return line(Span(f" {what} {first + 1}-{last} of {total} ", "heads"))


def _free(gpus: Sequence[tuple[Gpu, Occupancy]]) -> list[Span]:
    if not gpus:
        return []
    free = sum(occupancy.state == "free" for _, occupancy in gpus)
    return [Span(f"  {free} of {len(gpus)} GPU{'' if len(gpus) == 1 else 's'} free")]


def _trouble(counts: Mapping[str, int], server: Server) -> list[Span]:
    if server.drained:
        return [Span("  drained: nothing starts", "warn")]
    if not server.runs and any(counts.get(state) for state in OPEN_STATES):
        return [Span("  no server runs (sgs server start)", "bad")]
    return []
