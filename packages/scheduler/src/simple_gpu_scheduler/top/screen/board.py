"""The whole screen as lines: a pure function of what was seen and of what the user has chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.gpu_status import GpuStatuses
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
from simple_gpu_scheduler.text.terminal import crop, text_width
from simple_gpu_scheduler.top.screen.details import Known, details
from simple_gpu_scheduler.top.screen.gpu_table import Holding, card_lines, jobs_by_place, not_used
from simple_gpu_scheduler.top.screen.header import (
    Heights,
    header,
    heights,
    log_title,
    where_in_list,
)
from simple_gpu_scheduler.top.screen.job_table import (
    Shown,
    command_text,
    how_long,
    label,
    numbers,
    table,
)
from simple_gpu_scheduler.top.screen.keys import footer
from simple_gpu_scheduler.top.screen.scroll import Place
from simple_gpu_scheduler.top.screen.spans import Line, Piece, both_ends, fitted, line, width_of
from simple_gpu_scheduler.top.screen.state import Seen

#: For which states there is something to do.
_SERVES = {
    "cancel": OPEN_STATES,
    "hold": (QUEUED, HELD),
    "priority": (QUEUED, HELD),
    "retry": (FAILED, CANCELLED, LOST),
}

Cards = Sequence[tuple[Gpu, Occupancy]]


class Words(NamedTuple):
    """What other commands say in the same words."""

    how: Callable[[QueuedJob], str]  #: a job ended
    gpu_names: Callable[[Sequence[Gpu]], list[str]]
    gpu_table: Callable[[Cards, float, int | None], list[str]]


class Log(NamedTuple):
    """The end of what a job has printed."""

    of: str  #: its path
    tail: Tail | None  #: what was read; None: there is no such file
    lines: Sequence[str] = ()


class Board(NamedTuple):
    """What is known, and what is chosen."""

    host: str
    seen: Seen | None = None  #: None: not yet
    cards: GpuStatuses | None = None
    log: Log | None = None  #: the last that was read, perhaps another job's
    place: Place = Place()
    view: str = "all"
    filter: str = ""
    asks: bool = False  #: the filter is being typed
    marked: frozenset[int] = frozenset()
    shift: int = 0  #: see `jobs.Shown`
    said: Piece | None = None  #: what was just done

    @property
    def chosen(self) -> QueuedJob | None:
        """The job under the cursor."""
        return None if self.seen is None else self.seen.entry(self.place.cursor)

    def shown(self, words: Words, now_s: float) -> Shown:
        """What a table of jobs needs to know."""
        stopping = frozenset[int]() if self.seen is None else self.seen.stopping
        return Shown(now_s, words.how, stopping, self.marked, self.shift)


class Picture(NamedTuple):
    """The lines of each part of the screen."""

    header: list[Line]
    cards: list[Line]
    titles: list[Line]
    jobs: list[Line]
    rule: list[Line]
    log: list[Line]
    footer: list[Line]


def divide(board: Board, lines: int) -> Heights:
    """How the screen is divided."""
    cards = 0 if board.cards is None else max(1, len(board.cards.gpus))
    return heights(lines, cards, 0 if board.seen is None else board.seen.total)


def picture(board: Board, words: Words, now_s: float, width: int, lines: int) -> Picture:
    """The whole screen."""
    sizes = divide(board, lines)
    shown = board.shown(words, now_s)
    titles, jobs = _jobs(board, shown, width, sizes.jobs)
    return Picture(
        [_header(board, now_s, width)],
        _cards(board, words, width, sizes.cards),
        [titles],
        jobs,
        [log_title(board.chosen, shown, board.said, width)],
        _below(board, shown, width, sizes.log),
        [fitted(_footer(board, width), width)],
    )


def log_body(log: Log | None, entry: QueuedJob) -> Sequence[str]:
    """The lines of a job's log, or what to say where there are none."""
    if log is None or not log.of.endswith(f"/{entry.id}.{entry.attempt}.log"):
        return [""]  # it will be read at once
    if log.lines:
        return log.lines
    return ["(it hasn't printed anything)" if log.tail is not None else "(it has no log)"]


def _header(board: Board, now_s: float, width: int) -> Line:
    if board.seen is None:
        return fitted(line(Piece(f" {board.host}", "title"), "  reading the queue ..."), width)
    cards = () if board.cards is None else board.cards.gpus
    return header(board.host, board.seen.counts, board.seen.server, cards, now_s, width)


def _cards(board: Board, words: Words, width: int, most: int) -> list[Line]:
    if board.cards is None or not most:
        return []
    seen = board.cards.gpus
    if not seen:
        why = board.cards.error or "The driver answers, but has no GPU."
        return [fitted(line(Piece(f" No GPU to be seen: {printable(why)}", "dim")), width)]
    running = () if board.seen is None else board.seen.on_gpus
    slots = () if board.seen is None else board.seen.slots
    holding = Holding(jobs_by_place(seen, running), os.geteuid(), not_used(seen, slots))
    return card_lines(seen, words.gpu_names([gpu for gpu, _ in seen]), holding, width, most)


def _jobs(board: Board, shown: Shown, width: int, rows: int) -> tuple[Line, list[Line]]:
    """The line of titles, and those of the jobs that are on the screen."""
    seen, place = board.seen, board.place
    if seen is None:
        return fitted(line(Piece(" ", "heads")), width), []
    last = min(place.top + rows, seen.total)
    visible = [seen.entry(position) for position in range(place.top, last)]
    chosen = place.row if seen.total else None
    titles, lines = table(visible, shown, width, chosen, around=seen.entries)
    where = where_in_list(board.view, printable(board.filter.strip()), place.top, rows, seen.total)
    return both_ends(titles, where, width), lines


def _below(board: Board, shown: Shown, width: int, rows: int) -> list[Line]:
    """The end of the log; of a job that has none, what else there is to tell."""
    entry = board.chosen
    if entry is None or board.seen is None or rows <= 0:
        return _nothing(board, width)[:rows]
    if entry.attempt and entry.state not in (QUEUED, HELD):
        return [fitted(line(one), width) for one in log_body(board.log, entry)[-rows:]]
    subject = board.seen.subject
    known = board.seen.known if subject is not None and subject.id == entry.id else Known()
    return details(entry, known, board.seen.server, shown, width)[:rows]


def _nothing(board: Board, width: int) -> list[Line]:
    if board.seen is None:
        return []
    if board.filter:
        told = "  No job is like that. / changes the filter, Escape in it ends it."
    elif any(board.seen.counts.values()):
        told = f"  No job is {'open' if board.view == 'open' else 'to be shown'}: a shows others."
    else:
        told = "  Nothing was submitted yet: sgs submit -- python train.py"
    return [fitted(line(Piece(told, "dim")), width)]


def _footer(board: Board, width: int) -> Line:
    if board.asks:
        return _filter_line(board.filter, width)
    entry = board.chosen
    dull: set[str] = set()
    if not board.marked:
        state = "" if entry is None else entry.state
        dull = {action for action, states in _SERVES.items() if state not in states}
    return footer(width, held=entry is not None and entry.state == HELD, dull=dull)


def _filter_line(text: str, width: int) -> Line:
    """What is typed, and a cursor; its end, if it is long."""
    told = line(Piece("  Enter keeps it, Escape ends it", "dim"))
    room = max(1, width - width_of(told) - 10)
    while text_width(text) > room:
        text = text[1:]
    left = line(Piece(" filter: ", "bold"), Piece(printable(text)), Piece(" ", "chosen"))
    return both_ends(left, told, width)


def cancel_question(
    marked: Collection[int], entry: QueuedJob | None, shown: Shown
) -> tuple[str, list[str]] | None:
    """What to ask before cancelling, and what to tell with it; None where nothing is open.

    Args:
        marked: the jobs that are meant; empty: the one.
    """
    if marked:
        return f"Cancel the marked {numbers(marked)}?", []
    if entry is None or entry.state not in OPEN_STATES:
        return None
    what = f"It has run for {how_long(entry, shown.now_s)}." if entry.state == RUNNING else ""
    facts = [crop(command_text(entry), 180), label(entry), what]
    return f"Cancel job {entry.id}?", [one for one in facts if one]
