"""The whole screen as lines: a pure function of what was read and of what the user has chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.gpu_status import CardsSeen
from simple_gpu_scheduler.allocation.occupancy import Occupancy
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
from simple_gpu_scheduler.top.screen.details import JobFacts, details
from simple_gpu_scheduler.top.screen.gpu_table import (
    GpuHolders,
    gpu_lines,
    jobs_by_place,
    not_used,
)
from simple_gpu_scheduler.top.screen.header import (
    Heights,
    header,
    heights,
    log_title,
    where_in_list,
)
from simple_gpu_scheduler.top.screen.job_table import (
    TableContext,
    command_text,
    how_long,
    label,
    numbers,
    table,
)
from simple_gpu_scheduler.top.screen.scroll import Scroll
from simple_gpu_scheduler.top.screen.spans import Line, Span, both_ends, fitted, line
from simple_gpu_scheduler.top.screen.state import QueueState

#: For which states there is something to do.
_SERVES = {
    "cancel": OPEN_STATES,
    "hold": (QUEUED, HELD),
    "priority": (QUEUED, HELD),
    "retry": (FAILED, CANCELLED, LOST),
}

Cards = Sequence[tuple[Gpu, Occupancy]]


class Formatters(NamedTuple):
    """The functions by which other commands show the same things."""

    how: Callable[[QueuedJob], str]  #: how a job ended
    gpu_names: Callable[[Sequence[Gpu]], list[str]]
    gpu_table: Callable[[Cards, float, int | None], list[str]]


class Log(NamedTuple):
    """The end of what a job has printed."""

    of: str  #: its path
    tail: Tail | None  #: what was read; None: there is no such file
    lines: Sequence[str] = ()


class Board(NamedTuple):
    """What was read, and what the user has chosen."""

    host: str
    state: QueueState | None = None  #: None: not yet
    cards: CardsSeen | None = None
    log: Log | None = None  #: the last that was read, perhaps another job's
    scroll: Scroll = Scroll()
    view: str = "all"
    filter: str = ""
    marked: frozenset[int] = frozenset()
    shift: int = 0  #: see `job_table.TableContext`
    message: Span | None = None  #: what was just done, or what failed

    @property
    def chosen(self) -> QueuedJob | None:
        """The job under the cursor."""
        return None if self.state is None else self.state.entry(self.scroll.cursor)

    def table_context(self, formatters: Formatters, now_s: float) -> TableContext:
        """What a table of jobs needs to know."""
        stopping = frozenset[int]() if self.state is None else self.state.stopping
        return TableContext(now_s, formatters.how, stopping, self.marked, self.shift)


class ScreenLines(NamedTuple):
    """The lines of each part of the screen."""

    header: list[Line]
    cards: list[Line]
    titles: list[Line]
    jobs: list[Line]
    rule: list[Line]
    log: list[Line]


def divide(board: Board, lines: int) -> Heights:
    """How the screen is divided."""
    cards = 0 if board.cards is None else max(1, len(board.cards.cards))
    return heights(lines, cards, 0 if board.state is None else board.state.total)


def screen_lines(
    board: Board, formatters: Formatters, now_s: float, width: int, lines: int
) -> ScreenLines:
    """The whole screen."""
    sizes = divide(board, lines)
    context = board.table_context(formatters, now_s)
    titles, jobs = _jobs(board, context, width, sizes.jobs)
    return ScreenLines(
        [_header(board, now_s, width)],
        _gpus(board, formatters, width, sizes.cards),
        [titles],
        jobs,
        [log_title(board.chosen, context, board.message, width)],
        _below(board, context, width, sizes.log),
    )


def log_body(log: Log | None, entry: QueuedJob) -> Sequence[str]:
    """The lines of a job's log, or what to say where there are none."""
    if log is None or not log.of.endswith(f"/{entry.id}.{entry.attempt}.log"):
        return [""]  # it will be read at once
    if log.lines:
        return log.lines
    return ["(it hasn't printed anything)" if log.tail is not None else "(it has no log)"]


def _header(board: Board, now_s: float, width: int) -> Line:
    if board.state is None:
        return fitted(line(Span(f" {board.host}", "title"), "  reading the queue ..."), width)
    cards = () if board.cards is None else board.cards.cards
    return header(board.host, board.state.counts, board.state.server, cards, now_s, width)


def _gpus(board: Board, formatters: Formatters, width: int, most: int) -> list[Line]:
    if board.cards is None or not most:
        return []
    gpus = board.cards.cards
    if not gpus:
        why = board.cards.why or "The driver answers, but has no GPU."
        return [fitted(line(Span(f" No GPU found: {printable(why)}", "dim")), width)]
    running = () if board.state is None else board.state.on_gpus
    slots = () if board.state is None else board.state.slots
    holders = GpuHolders(jobs_by_place(gpus, running), os.geteuid(), not_used(gpus, slots))
    return gpu_lines(gpus, formatters.gpu_names([gpu for gpu, _ in gpus]), holders, width, most)


def _jobs(board: Board, context: TableContext, width: int, rows: int) -> tuple[Line, list[Line]]:
    """The line of titles, and those of the jobs that are on the screen."""
    state, scroll = board.state, board.scroll
    if state is None:
        return fitted(line(Span(" ", "heads")), width), []
    last = min(scroll.top + rows, state.total)
    visible = [state.entry(position) for position in range(scroll.top, last)]
    chosen = scroll.row if state.total else None
    titles, lines = table(visible, context, width, chosen, around=state.entries)
    where = where_in_list(
        board.view, printable(board.filter.strip()), scroll.top, rows, state.total
    )
    return both_ends(titles, where, width), lines


def _below(board: Board, context: TableContext, width: int, rows: int) -> list[Line]:
    """The end of the log; of a job that has none, what else there is to tell."""
    entry = board.chosen
    if entry is None or board.state is None or rows <= 0:
        return _nothing(board, width)[:rows]
    if entry.attempt and entry.state not in (QUEUED, HELD):
        return [fitted(line(text), width) for text in log_body(board.log, entry)[-rows:]]
    subject = board.state.subject
    facts = board.state.facts if subject is not None and subject.id == entry.id else JobFacts()
    return details(entry, facts, board.state.server, context, width)[:rows]


def _nothing(board: Board, width: int) -> list[Line]:
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
    return [fitted(line(Span(text, "dim")), width)]


def idle_actions(board: Board, entry: QueuedJob | None) -> frozenset[str]:
    """The actions that change nothing for the job; with marked jobs, none is idle."""
    if board.marked:
        return frozenset()
    state = "" if entry is None else entry.state
    return frozenset(action for action, states in _SERVES.items() if state not in states)


def cancel_question(
    marked: Collection[int], entry: QueuedJob | None, context: TableContext
) -> tuple[str, list[str]] | None:
    """The question before a cancellation, and facts to go with it; None if no job is open.

    Args:
        marked: the marked jobs; empty: only the job of `entry`.
    """
    if marked:
        return f"Cancel the marked {numbers(marked)}?", []
    if entry is None or entry.state not in OPEN_STATES:
        return None
    what = f"It has run for {how_long(entry, context.now_s)}." if entry.state == RUNNING else ""
    facts = [crop(command_text(entry), 180), label(entry), what]
    return f"Cancel job {entry.id}?", [fact for fact in facts if fact]
