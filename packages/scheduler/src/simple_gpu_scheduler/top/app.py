"""`sgs top`: what the keys of `bindings.BINDINGS` do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widgets import Input

from simple_gpu_scheduler.queue.records import HELD
from simple_gpu_scheduler.top import actions
from simple_gpu_scheduler.top.bindings import BINDINGS, help_rows
from simple_gpu_scheduler.top.reader import QueueReader
from simple_gpu_scheduler.top.screen.board import Board, cancel_question, divide, log_body
from simple_gpu_scheduler.top.screen.details import JobFacts, details
from simple_gpu_scheduler.top.screen.header import log_title
from simple_gpu_scheduler.top.screen.keys import help_lines
from simple_gpu_scheduler.top.screen.scroll import Scroll, moved
from simple_gpu_scheduler.top.screen.spans import Line, Span, fitted, line, wrapped
from simple_gpu_scheduler.top.screen.state import VIEWS
from simple_gpu_scheduler.top.viewer import Viewer
from simple_gpu_scheduler.top.widgets import Confirm, Pager

_JOB_ACTIONS = ("cancel", "hold", "release", "priority", "retry")
_ACTIONS = frozenset(binding.action.partition("(")[0] for binding in BINDINGS)


class TopApp(Viewer):
    """The dashboard."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *BINDINGS,
        Binding("ctrl+c", "leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action is possible now; Textual asks."""
        if action in ("hold", "release"):
            subject = self._subject()
            held = subject is not None and subject.state == HELD
            if held != (action == "release"):
                return False
        if self._pager is None or action not in _ACTIONS:
            return super().check_action(action, parameters)
        return action in ("quit", "redraw") or (
            action in _JOB_ACTIONS and self._pager.job is not None
        )

    def action_leave(self) -> None:
        """Quit, whatever is on the screen."""
        self.exit()

    def action_redraw(self) -> None:
        """Draw the screen again."""
        self.refresh_all()

    # moving

    def action_move(self, lines: int) -> None:
        """Choose another job."""
        self._go_to(self._board.scroll.cursor + lines)

    def action_page(self, pages: int) -> None:
        """Choose a job one screen away."""
        self.action_move(pages * max(1, divide(self._board, self.size.height).jobs - 1))

    def action_jump(self, end: int) -> None:
        """Choose the first or the last job."""
        total = 0 if self._board.state is None else self._board.state.total
        self._go_to(total - 1 if end else 0)

    def action_shift(self, characters: int) -> None:
        """Show another part of the commands."""
        self._board = self._board._replace(shift=max(0, self._board.shift + characters))
        self._show()

    def action_mark(self) -> None:
        """Mark the job, or remove its mark; then choose the next job."""
        if self._board.chosen is not None:
            marked = self._board.marked ^ {self._board.chosen.id}
            self._board = self._board._replace(marked=marked)
            self.action_move(1)

    def action_unmark(self) -> None:
        """Remove all marks."""
        self._board = self._board._replace(marked=frozenset())
        self._show()

    def action_view(self) -> None:
        """Show all jobs, only open jobs, only ended jobs, in turn."""
        names = list(VIEWS)
        view = names[(names.index(self._board.view) + 1) % len(names)]
        self._list_again(self._board._replace(view=view))

    def _go_to(self, position: int) -> None:
        state = self._board.state
        if state is None:
            return
        rows = divide(self._board, self.size.height).jobs
        self._board = self._board._replace(
            scroll=moved(position, self._board.scroll, state.total, rows)
        )
        self._follow_job()
        self._query_changed(soon=self._board.chosen is None)

    def _list_again(self, board: Board) -> None:
        """Show another list, from its first line or from the line of the followed job."""
        self._board = board._replace(scroll=Scroll(job=board.scroll.job))
        self._query_changed()

    def _query_changed(self, *, soon: bool = True) -> None:
        self._moves += 1
        self._queue_refresher.request(soon=soon)
        self._log_refresher.request(soon=True)
        self._show()

    # the filter

    def action_filter(self) -> None:
        """Show the filter in place of the footer."""
        self._ask_filter(True)

    def action_clear_filter(self) -> None:
        """Remove the filter."""
        self._filter.value = ""
        self._ask_filter(False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Apply the filter while it is typed."""
        self._list_again(self._board._replace(filter=event.value))

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self._ask_filter(False)

    def on_key(self, event: Key) -> None:
        """Letters that were on their way to the board when the filter got the focus."""
        if self.focused is self._filter and event.character and event.is_printable:
            self._filter.insert_text_at_cursor(event.character)
            event.prevent_default()

    def _ask_filter(self, asks: bool) -> None:
        self._footer.display = not asks
        self._filter_line.display = asks
        self.set_focus(self._filter if asks else None)

    # changing jobs

    def action_cancel(self) -> None:
        """Cancel, after a question."""
        jobs = self._targets()
        marked = jobs if self._are_marked() else []
        context = self._board.table_context(self._formatters, time.time())
        question = cancel_question(marked, self._subject(), context)
        if question is None:
            self._show_message(
                Span("nothing to cancel: it has ended" if jobs else "no job", "warn")
            )
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._change(jobs, lambda reader: actions.cancel(reader, jobs))
            else:
                self._show_message(Span("not cancelled"))

        confirm = Confirm(*question, "yes, cancel", "no, leave it")
        self.push_screen(confirm, answered)

    def action_hold(self) -> None:
        """Hold, or release."""
        jobs = self._targets()
        self._change(jobs, lambda reader: actions.hold(reader, jobs))

    action_release = action_hold

    def action_priority(self, by: int) -> None:
        """Raise or lower the priority."""
        jobs = self._targets()
        self._change(jobs, lambda reader: actions.change_priority(reader, jobs, by))

    def action_retry(self) -> None:
        """Queue the job again."""
        jobs = self._targets()
        self._change(jobs, lambda reader: actions.retry(reader, jobs))

    def _are_marked(self) -> bool:
        """Whether keys act on the marked jobs, and not on a single job."""
        return bool(self._board.marked) and self._pager_job() is None

    def _targets(self) -> list[int]:
        """The jobs that keys act on."""
        if self._are_marked():
            return sorted(self._board.marked)
        subject = self._subject()
        return [] if subject is None else [subject.id]

    def _change(self, jobs: list[int], work: Callable[[QueueReader], Span]) -> None:
        if jobs:
            self.run_worker(self._changed(work), exit_on_error=True)

    async def _changed(self, work: Callable[[QueueReader], Span]) -> None:
        message = await self._result_or_message(self._queue_thread.ask(work))
        if message is not None:
            self._board = self._board._replace(marked=frozenset())
            self._show_message(message)
        self._query_read = None  # the version of the file doesn't tell our own changes
        self._queue_refresher.request(soon=True)

    # other screens

    def action_log(self) -> None:
        """Show the log; the facts, if the job has no log yet."""
        entry = self._board.chosen
        if entry is None:
            return
        if not entry.attempt:
            self.action_info()
            return
        self._open(self._log_head, self._log_body, job=entry.id, at_end=True)

    def action_info(self) -> None:
        """Show the facts about the job."""
        entry = self._board.chosen
        if entry is not None:
            self._open(self._log_head, self._info_body, job=entry.id)

    def action_gpus(self) -> None:
        """Show the table of GPUs."""
        self._open(lambda width: _titled("GPUs", width), self._gpus_body)

    def action_help(self) -> None:
        """The keys, as they are bound now.

        On a screen of its own: Textual's HelpPanel takes a third of the terminal, no more than 30
        columns of 80, and keys can't scroll it.
        """
        rows = help_rows(self, self.screen.active_bindings.values())
        self._open(lambda width: _titled("sgs top", width), lambda width: help_lines(rows, width))

    def _open(
        self,
        head: Callable[[int], Line],
        body: Callable[[int], Sequence[Line]],
        *,
        job: int | None = None,
        at_end: bool = False,
    ) -> None:
        pager = Pager(head, body, self._idle, job=job, at_end=at_end)
        self.push_screen(pager, lambda _: self._query_changed())
        self.call_after_refresh(self._query_changed)

    def _log_head(self, width: int) -> Line:
        context = self._board.table_context(self._formatters, time.time())
        return log_title(self._subject(), context, self._board.message, width, full=True)

    def _log_body(self, width: int) -> list[Line]:
        entry = self._subject()
        if entry is None:
            return []
        return [
            line(part)
            for text in log_body(self._board.log, entry)
            for part in wrapped(text, width)
        ]

    def _info_body(self, width: int) -> list[Line]:
        state, entry = self._board.state, self._subject()
        if state is None or entry is None:
            return []
        facts = state.facts if state.subject == entry else JobFacts()
        context = self._board.table_context(self._formatters, time.time())
        return details(entry, facts, state.server, context, width)

    def _gpus_body(self, width: int) -> list[Line]:
        cards = self._board.cards
        if cards is None:
            return []
        lines = self._formatters.gpu_table(cards.cards, time.time(), width)
        if cards.why:
            lines = [
                f"No GPU found: {cards.why}.",
                "The GPUs that the queue was given:",
                "",
                *lines,
            ]
        return [line(part) for text in lines for part in wrapped(text, width, words=True)]


def _titled(title: str, width: int) -> Line:
    return fitted(line(Span(f" {title}", "chosen heads")), width)
