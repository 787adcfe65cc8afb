"""The whole screen as lines: a pure function of what was read and of what the user selected."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.gpu_status import GpuStatuses
from simple_gpu_scheduler.files.tail import Tail
from simple_gpu_scheduler.gpus.records import Gpu
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    FAILED,
    HELD,
    LOST,
    OPEN_STATES,
    QUEUED,
    RUNNING,
    QueuedJob,
)
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop
from simple_gpu_scheduler.top.screen.details import JobFacts, render_details
from simple_gpu_scheduler.top.screen.gpu_table import (
    GpuHolders,
    GpuOccupancies,
    find_unused,
    jobs_by_index,
    render_gpus,
)
from simple_gpu_scheduler.top.screen.header import (
    Heights,
    divide_lines,
    render_header,
    render_log_title,
    render_range,
)
from simple_gpu_scheduler.top.screen.job_table import (
    TableContext,
    command_text,
    format_job_ids,
    format_runtime,
    label,
    render_jobs,
)
from simple_gpu_scheduler.top.screen.scroll import Scroll
from simple_gpu_scheduler.top.screen.spans import Line, Span, fit, justify, line
from simple_gpu_scheduler.top.screen.state import QueueState

#: The states of a job in which an action changes something.
_STATES_OF_ACTIONS = {
    "cancel": OPEN_STATES,
    "hold": (QUEUED, HELD),
    "priority": (QUEUED, HELD),
    "retry": (FAILED, CANCELLED, LOST),
}


class Formatters(NamedTuple):
    """Functions of `cli`, so that other commands and the dashboard use the same words."""

    how_it_ended: Callable[[QueuedJob], str]
    gpu_names: Callable[[Sequence[Gpu]], list[str]]  #: a short name for each GPU
    gpu_table: Callable[[GpuOccupancies, float, int | None], list[str]]  #: the table of sgs gpus


class Log(NamedTuple):
    """The end of a job's log."""

    path: str
    tail: Tail | None  #: what was read; None: there is no such file
    lines: Sequence[str] = ()


class Board(NamedTuple):
    """All that was read, and all that the user has selected."""

    host: str
    state: QueueState | None = None  #: None: not read yet
    gpus: GpuStatuses | None = None  #: None: not read yet
    log: Log | None = None  #: the last log that was read; perhaps that of another job
    scroll: Scroll = Scroll()
    view: str = "all"
    filter: str = ""
    marked: frozenset[int] = frozenset()
    shift: int = 0  #: see `job_table.TableContext`
    message: Span | None = None  #: the result of the last action, or an error

    @property
    def selected(self) -> QueuedJob | None:
        """The job under the cursor."""
        return None if self.state is None else self.state.entry_at(self.scroll.cursor)

    def table_context(self, formatters: Formatters, now_s: float) -> TableContext:
        """What the table needs to know besides the jobs."""
        stopping = frozenset[int]() if self.state is None else self.state.stopping
        return TableContext(now_s, formatters.how_it_ended, stopping, self.marked, self.shift)


class ScreenLines(NamedTuple):
    """The lines of each part of the screen."""

    header: list[Line]
    gpus: list[Line]
    titles: list[Line]
    jobs: list[Line]
    rule: list[Line]
    log: list[Line]


def part_heights(board: Board, lines: int) -> Heights:
    """The heights of the parts on a screen of so many lines."""
    gpus = 0 if board.gpus is None else max(1, len(board.gpus.cards))
    return divide_lines(lines, gpus, 0 if board.state is None else board.state.total)


def render_screen(
    board: Board, formatters: Formatters, now_s: float, width: int, lines: int
) -> ScreenLines:
    """The lines of the whole screen, without the footer.

    Args:
        now_s: wall clock, for runtimes and the time in the header.
        width: the columns of the screen.
        lines: the lines of the screen.
    """
    heights = part_heights(board, lines)
    context = board.table_context(formatters, now_s)
    titles, jobs = _render_job_list(board, context, width, heights.jobs)
    return ScreenLines(
        [_render_header(board, now_s, width)],
        _render_gpu_list(board, formatters, width, heights.gpus),
        [titles],
        jobs,
        [render_log_title(board.selected, context, board.message, width)],
        _render_log(board, context, width, heights.log),
    )


def log_body(log: Log | None, entry: QueuedJob) -> Sequence[str]:
    """The lines of a job's log; a note if it has none."""
    if log is None or not log.path.endswith(f"/{entry.id}.{entry.attempt}.log"):
        return [""]  # another job's; the right one is about to be read
    if log.lines:
        return log.lines
    return ["(it hasn't printed anything)" if log.tail is not None else "(it has no log)"]


def _render_header(board: Board, now_s: float, width: int) -> Line:
    if board.state is None:
        return fit(line(Span(f" {board.host}", "title"), "  reading the queue ..."), width)
    gpus = () if board.gpus is None else board.gpus.cards
    return render_header(board.host, board.state.counts, board.state.server, gpus, now_s, width)


def _render_gpu_list(
    board: Board, formatters: Formatters, width: int, max_lines: int
) -> list[Line]:
    if board.gpus is None or not max_lines:
        return []
    gpus = board.gpus.cards
    if not gpus:
        why = board.gpus.why or "The driver answers, but has no GPU."
        return [fit(line(Span(f" No GPU found: {printable(why)}", "dim")), width)]
    running = () if board.state is None else board.state.on_gpus
    slots = () if board.state is None else board.state.slots
    holders = GpuHolders(jobs_by_index(gpus, running), os.geteuid(), find_unused(gpus, slots))
    return render_gpus(
        gpus, formatters.gpu_names([gpu for gpu, _ in gpus]), holders, width, max_lines
    )


def _render_job_list(
    board: Board, context: TableContext, width: int, rows: int
) -> tuple[Line, list[Line]]:
    """The line of titles, and the lines of the jobs on the screen."""
    state, scroll = board.state, board.scroll
    if state is None:
        return fit(line(Span(" ", "heads")), width), []
    last = min(scroll.top + rows, state.total)
    visible = [state.entry_at(number) for number in range(scroll.top, last)]
    selected = scroll.row if state.total else None
    titles, lines = render_jobs(visible, context, width, selected, nearby=state.entries)
    where = render_range(
        board.view, printable(board.filter.strip()), scroll.top, rows, state.total
    )
    return justify(titles, where, width), lines


def _render_log(board: Board, context: TableContext, width: int, rows: int) -> list[Line]:
    """The end of the selected job's log; if the job has not started, its facts."""
    entry = board.selected
    if entry is None or board.state is None or rows <= 0:
        return _render_empty_list(board, width)[:rows]
    if entry.attempt and entry.state not in (QUEUED, HELD):
        return [fit(line(text), width) for text in log_body(board.log, entry)[-rows:]]
    subject = board.state.subject
    facts = board.state.facts if subject is not None and subject.id == entry.id else JobFacts()
    return render_details(entry, facts, board.state.server, context, width)[:rows]


def _render_empty_list(board: Board, width: int) -> list[Line]:
    if board.state is None:
        return []
    if board.filter:
        text = "  No job matches. / changes the filter, Escape removes it."
    elif any(board.state.counts.values()):
        text = (
            f"  No job {'is open' if board.view == 'open' else 'has ended'}: a shows other jobs."
        )
    else:
        text = "  The queue is empty: sgs submit -- python train.py"
    return [fit(line(Span(text, "dim")), width)]


def idle_actions(board: Board, entry: QueuedJob | None) -> frozenset[str]:
    """The actions that change nothing for the job; none if jobs are marked."""
    if board.marked:
        return frozenset()
    state = "" if entry is None else entry.state
    return frozenset(
        action for action, states in _STATES_OF_ACTIONS.items() if state not in states
    )


def cancel_question(
    marked: Collection[int], entry: QueuedJob | None, context: TableContext
) -> tuple[str, list[str]] | None:
    """The question before a cancellation, and facts about the job; None if no job is open.

    Args:
        marked: the marked jobs. If there are none, the question is about `entry`.
    """
    if marked:
        return f"Cancel the marked {format_job_ids(marked)}?", []
    if entry is None or entry.state not in OPEN_STATES:
        return None
    runtime = format_runtime(entry, context.now_s) if entry.state == RUNNING else ""
    facts = [crop(command_text(entry), 180), label(entry)]
    facts.append(f"It has run for {runtime}." if runtime else "")
    return f"Cancel job {entry.id}?", [fact for fact in facts if fact]
