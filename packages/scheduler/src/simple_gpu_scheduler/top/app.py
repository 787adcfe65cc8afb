"""`sgs top`: what the keys do. The names of the actions are those of `keys.KEYS`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key, Paste

from simple_gpu_scheduler.top import actions as changes
from simple_gpu_scheduler.top.reader import Looker
from simple_gpu_scheduler.top.screen.board import Board, cancel_question, divide, log_body
from simple_gpu_scheduler.top.screen.details import Known, details
from simple_gpu_scheduler.top.screen.header import log_title
from simple_gpu_scheduler.top.screen.keys import KEYS, edited, help_lines
from simple_gpu_scheduler.top.screen.scroll import Place, moved
from simple_gpu_scheduler.top.screen.spans import Line, Piece, fitted, line, wrapped
from simple_gpu_scheduler.top.screen.state import VIEWS
from simple_gpu_scheduler.top.viewer import Viewer
from simple_gpu_scheduler.top.widgets import Confirm, Pager

_ACTIONS = frozenset(one.action.partition("(")[0] for one in KEYS)
_CHANGES = ("cancel", "hold", "priority", "retry")


class TopApp(Viewer):
    """The dashboard."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(one.keys, one.action, show=False) for one in KEYS if one.keys),
        Binding("ctrl+c", "leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
        Binding("ctrl+l", "redraw", show=False),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What keys may do now; Textual asks."""
        if self._pager is None or action not in _ACTIONS:
            return super().check_action(action, parameters)
        return action == "quit" or (action in _CHANGES and self._pager.job is not None)

    def action_leave(self) -> None:
        """Quit, whatever is on the screen."""
        self.exit()

    def action_redraw(self) -> None:
        """Draw all of it."""
        self.refresh_all()

    # moving

    def action_move(self, lines: int) -> None:
        """Choose another job."""
        self._go_to(self._board.place.cursor + lines)

    def action_page(self, pages: int) -> None:
        """Choose one a screen away."""
        self.action_move(pages * max(1, divide(self._board, self.size.height).jobs - 1))

    def action_jump(self, end: int) -> None:
        """Choose the first or the last one."""
        total = 0 if self._board.seen is None else self._board.seen.total
        self._go_to(total - 1 if end else 0)

    def action_shift(self, characters: int) -> None:
        """Show another part of the commands."""
        self._board = self._board._replace(shift=max(0, self._board.shift + characters))
        self._show()

    def action_mark(self) -> None:
        """Mark the job, or not any more; and go on to the next."""
        if self._board.chosen is not None:
            marked = self._board.marked ^ {self._board.chosen.id}
            self._board = self._board._replace(marked=marked)
            self.action_move(1)

    def action_unmark(self) -> None:
        """Mark none."""
        self._board = self._board._replace(marked=frozenset())
        self._show()

    def action_view(self) -> None:
        """Show all, the open ones, those that ended, by turns."""
        names = list(VIEWS)
        view = names[(names.index(self._board.view) + 1) % len(names)]
        self._list_anew(self._board._replace(view=view))

    def _go_to(self, position: int) -> None:
        seen = self._board.seen
        if seen is None:
            return
        rows = divide(self._board, self.size.height).jobs
        self._board = self._board._replace(
            place=moved(position, self._board.place, seen.total, rows)
        )
        self._stay_with_job()
        self._wish_anew(soon=self._board.chosen is None)

    def _list_anew(self, board: Board) -> None:
        """Another list: from its beginning, or where the job is."""
        self._board = board._replace(place=Place(job=board.place.job))
        self._wish_anew()

    def _wish_anew(self, *, soon: bool = True) -> None:
        self._moves += 1
        self._looks.want(soon=soon)
        self._log_looks.want(soon=True)
        self._show()

    # the filter

    def action_filter(self) -> None:
        """Ask for words: until that is over, keys are letters."""
        self._board = self._board._replace(asks=True)
        self._show()

    def on_key(self, event: Key) -> None:
        """While the filter is typed, keys are letters; Escape ends it, at any time."""
        board = self._board
        if isinstance(self.screen, (Pager, Confirm)) or event.key == "ctrl+c":
            return
        if event.key == "escape":
            self._list_anew(board._replace(asks=False, filter=""))
        elif board.asks and event.key == "enter":
            self._board = board._replace(asks=False)
            self._show()
        elif board.asks:
            typed = edited(board.filter, event.key, event.character)
            self._list_anew(board._replace(filter=typed))
        else:
            return
        event.prevent_default()  # it is no action, too

    def on_paste(self, event: Paste) -> None:
        """More letters of the filter."""
        if self._board.asks:
            words = " ".join(event.text.split())
            self._list_anew(self._board._replace(filter=self._board.filter + words))

    # what becomes of jobs

    def action_cancel(self) -> None:
        """Cancel, if that is really wanted."""
        jobs = self._targets()
        marked = jobs if self._are_marked() else []
        shown = self._board.shown(self._words, time.time())
        question = cancel_question(marked, self._subject(), shown)
        if question is None:
            self._say(Piece("nothing to cancel: it has ended" if jobs else "no job", "warn"))
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._change(jobs, lambda looker: changes.cancel(looker, jobs))
            else:
                self._say(Piece("not cancelled"))

        confirm = Confirm(*question, "yes, cancel", "no, leave it")
        self.push_screen(confirm, answered)

    def action_hold(self) -> None:
        """Hold, or release."""
        jobs = self._targets()
        self._change(jobs, lambda looker: changes.hold(looker, jobs))

    def action_priority(self, by: int) -> None:
        """Give an earlier or a later turn."""
        jobs = self._targets()
        self._change(jobs, lambda looker: changes.change_priority(looker, jobs, by))

    def action_retry(self) -> None:
        """Queue again."""
        jobs = self._targets()
        self._change(jobs, lambda looker: changes.retry(looker, jobs))

    def _are_marked(self) -> bool:
        """Whether a key is for the marked jobs, and not for one."""
        return bool(self._board.marked) and self._asked_about() is None

    def _targets(self) -> list[int]:
        """The jobs that a key is for."""
        if self._are_marked():
            return sorted(self._board.marked)
        subject = self._subject()
        return [] if subject is None else [subject.id]

    def _change(self, jobs: list[int], work: Callable[[Looker], Piece]) -> None:
        if jobs:
            self.run_worker(self._changed(work), exit_on_error=True)

    async def _changed(self, work: Callable[[Looker], Piece]) -> None:
        said = await self._told(self._queue.ask(work))
        if said is not None:
            self._board = self._board._replace(marked=frozenset())
            self._say(said)
        self._wish = None  # our own changes are no news to the file's version
        self._looks.want(soon=True)

    # other screens

    def action_log(self) -> None:
        """The log; of a job that has none, all about it."""
        entry = self._board.chosen
        if entry is None:
            return
        if not entry.attempt:
            self.action_info()
            return
        self._open(Pager(self._log_head, self._log_body, job=entry.id, at_end=True))

    def action_info(self) -> None:
        """All about the job."""
        entry = self._board.chosen
        if entry is not None:
            self._open(Pager(self._log_head, self._info_body, job=entry.id))

    def action_gpus(self) -> None:
        """All about the GPUs."""
        self._open(Pager(lambda width: _titled("GPUs", width), self._gpus_body))

    def action_help(self) -> None:
        """The keys."""
        self._open(Pager(lambda width: _titled("sgs top", width), help_lines))

    def _open(self, pager: Pager) -> None:
        self.push_screen(pager, lambda _: self._wish_anew())
        self.call_after_refresh(self._wish_anew)

    def _log_head(self, width: int) -> Line:
        shown = self._board.shown(self._words, time.time())
        return log_title(self._subject(), shown, self._board.said, width, full=True)

    def _log_body(self, width: int) -> list[Line]:
        entry = self._subject()
        if entry is None:
            return []
        return [
            line(part) for one in log_body(self._board.log, entry) for part in wrapped(one, width)
        ]

    def _info_body(self, width: int) -> list[Line]:
        seen, entry = self._board.seen, self._subject()
        if seen is None or entry is None:
            return []
        known = seen.known if seen.subject == entry else Known()
        shown = self._board.shown(self._words, time.time())
        return details(entry, known, seen.server, shown, width)

    def _gpus_body(self, width: int) -> list[Line]:
        cards = self._board.cards
        if cards is None:
            return []
        lines = self._words.gpu_table(cards.gpus, time.time(), width)
        if cards.error:
            lines = [
                f"No GPU to be seen: {cards.error}.",
                "These are the queue's slots:",
                "",
                *lines,
            ]
        return [line(part) for one in lines for part in wrapped(one, width, words=True)]


def _titled(title: str, width: int) -> Line:
    return fitted(line(Piece(f" {title}", "chosen heads")), width)
