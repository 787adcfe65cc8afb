"""`sgs top`: what the keys of `bindings.BINDINGS` do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widgets import Input

from simple_gpu_scheduler.queue.records import HELD
from simple_gpu_scheduler.top import actions
from simple_gpu_scheduler.top.bindings import BINDINGS, help_rows
from simple_gpu_scheduler.top.reader import QueueReader
from simple_gpu_scheduler.top.screen.board import Board, cancel_question, log_body, part_heights
from simple_gpu_scheduler.top.screen.details import JobFacts, render_details
from simple_gpu_scheduler.top.screen.header import render_log_title
from simple_gpu_scheduler.top.screen.keys import render_help
from simple_gpu_scheduler.top.screen.scroll import Scroll, move_to
from simple_gpu_scheduler.top.screen.spans import Line, Span, fit, line, wrap
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
        """Tell Textual whether an action is possible now."""
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
        """Quit from any screen."""
        self.exit()

    def action_redraw(self) -> None:
        """Draw the screen again."""
        self.refresh_all()

    # moving

    def action_move(self, lines: int) -> None:
        """Select another job."""
        self._go_to(self._board.scroll.cursor + lines)

    def action_page(self, pages: int) -> None:
        """Select a job one screen away."""
        self.action_move(pages * max(1, part_heights(self._board, self.size.height).jobs - 1))

    def action_jump(self, end: int) -> None:
        """Select the first or the last job."""
        total = 0 if self._board.state is None else self._board.state.total
        self._go_to(total - 1 if end else 0)

    def action_shift(self, characters: int) -> None:
        """Show another part of the commands."""
        self._board = self._board._replace(shift=max(0, self._board.shift + characters))
        self._show()

    def action_mark(self) -> None:
        """Mark the job, or remove its mark; then select the next job."""
        if self._board.selected is not None:
            marked = self._board.marked ^ {self._board.selected.id}
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
        self._change_list(self._board._replace(view=view))

    def _go_to(self, line_number: int) -> None:
        state = self._board.state
        if state is None:
            return
        rows = part_heights(self._board, self.size.height).jobs
        self._board = self._board._replace(
            scroll=move_to(line_number, self._board.scroll, state.total, rows)
        )
        self._stay_on_job()
        self._on_query_changed(soon=self._board.selected is None)

    def _change_list(self, board: Board) -> None:
        """Show another list, from the line of the followed job or else from the first line."""
        self._board = board._replace(scroll=Scroll(job=board.scroll.job))
        self._on_query_changed()

    def _on_query_changed(self, *, soon: bool = True) -> None:
        """Draw what is known of it, and read the rest.

        Args:
            soon: do not wait for the rest after the last reading.
        """
        self._moves += 1
        self._queue_refresher.request(soon=soon)
        self._log_refresher.request(soon=True)
        self._show()

    # the filter

    def action_filter(self) -> None:
        """Show the filter in place of the footer."""
        self._show_filter(True)

    def action_clear_filter(self) -> None:
        """Remove the filter."""
        self._filter.value = ""
        self._show_filter(False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Apply the filter while it is typed."""
        self._change_list(self._board._replace(filter=event.value))

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self._show_filter(False)

    def on_key(self, event: Key) -> None:
        """Put letters into the filter that were typed before it had the focus."""
        if self.focused is self._filter and event.character and event.is_printable:
            self._filter.insert_text_at_cursor(event.character)
            event.prevent_default()

    def _show_filter(self, show: bool) -> None:
        self._footer.display = not show
        self._filter_line.display = show
        self.set_focus(self._filter if show else None)

    # changing jobs

    def action_cancel(self) -> None:
        """Cancel jobs, after a question."""
        jobs = self._targets()
        marked = jobs if self._are_marked() else []
        context = self._board.table_context(self._formatters, time.time())
        question = cancel_question(marked, self._subject(), context)
        if question is None:
            self._show_message(
                Span("nothing to cancel: it has ended" if jobs else "no job", "warn")
            )
            return

        def on_answer(yes: bool | None) -> None:
            if yes:
                self._change(jobs, lambda reader: actions.cancel(reader, jobs))
            else:
                self._show_message(Span("not cancelled"))

        confirm = Confirm(*question, "yes, cancel", "no, leave it")
        self.push_screen(confirm, on_answer)

    def action_hold(self) -> None:
        """Hold queued jobs, or release held jobs."""
        jobs = self._targets()
        self._change(jobs, lambda reader: actions.hold(reader, jobs))

    action_release = action_hold

    def action_priority(self, by: int) -> None:
        """Raise or lower the priority of jobs."""
        jobs = self._targets()
        self._change(jobs, lambda reader: actions.change_priority(reader, jobs, by))

    def action_retry(self) -> None:
        """Queue jobs again."""
        jobs = self._targets()
        self._change(jobs, lambda reader: actions.retry(reader, jobs))

    def _are_marked(self) -> bool:
        """Whether keys act on the marked jobs instead of a single job."""
        return bool(self._board.marked) and self._pager_job() is None

    def _targets(self) -> list[int]:
        """The jobs that keys act on."""
        if self._are_marked():
            return sorted(self._board.marked)
        subject = self._subject()
        return [] if subject is None else [subject.id]

    def _change(self, jobs: list[int], work: Callable[[QueueReader], Span]) -> None:
        if jobs:
            self.run_worker(self._change_and_report(work), exit_on_error=True)

    async def _change_and_report(self, work: Callable[[QueueReader], Span]) -> None:
        message = await self._result_or_message(self._queue_thread.ask(work))
        if message is not None:
            self._board = self._board._replace(marked=frozenset())
            self._show_message(message)
        self._last_query = None  # SQLite's version counts only the changes of others
        self._queue_refresher.request(soon=True)

    # other screens

    def action_log(self) -> None:
        """Show the log, or the facts if the job has no log yet."""
        entry = self._board.selected
        if entry is None:
            return
        if not entry.attempt:
            self.action_info()
            return
        self._open(self._log_head, self._log_body, job=entry.id, at_end=True)

    def action_info(self) -> None:
        """Show the facts about the job."""
        entry = self._board.selected
        if entry is not None:
            self._open(self._log_head, self._info_body, job=entry.id)

    def action_gpus(self) -> None:
        """Show the table of GPUs."""
        self._open(partial(_render_title, "GPUs"), self._gpus_body)

    def action_help(self) -> None:
        """Show the keys as they are bound now.

        The help has a screen of its own. Textual's HelpPanel takes a third of the terminal, which
        is under 30 columns of 80, and keys can't scroll it.
        """
        rows = help_rows(self, self.screen.active_bindings.values())
        self._open(partial(_render_title, "sgs top"), partial(render_help, rows))

    def _open(
        self,
        head: Callable[[int], Line],
        body: Callable[[int], Sequence[Line]],
        *,
        job: int | None = None,
        at_end: bool = False,
    ) -> None:
        pager = Pager(head, body, self._idle_actions, job=job, at_end=at_end)
        self.push_screen(pager, lambda _: self._on_query_changed())
        self.call_after_refresh(self._on_query_changed)

    def _log_head(self, width: int) -> Line:
        context = self._board.table_context(self._formatters, time.time())
        return render_log_title(self._subject(), context, self._board.message, width, full=True)

    def _log_body(self, width: int) -> list[Line]:
        entry = self._subject()
        if entry is None:
            return []
        return [
            line(part) for text in log_body(self._board.log, entry) for part in wrap(text, width)
        ]

    def _info_body(self, width: int) -> list[Line]:
        state, entry = self._board.state, self._subject()
        if state is None or entry is None:
            return []
        facts = state.facts if state.subject == entry else JobFacts()
        context = self._board.table_context(self._formatters, time.time())
        return render_details(entry, facts, state.server, context, width)

    def _gpus_body(self, width: int) -> list[Line]:
        gpus = self._board.gpus
        if gpus is None:
            return []
        lines = self._formatters.gpu_table(gpus.cards, time.time(), width)
        if gpus.why:
            lines = [
                f"No GPU found: {gpus.why}.",
                "The GPUs that the queue was given:",
                "",
                *lines,
            ]
        return [line(part) for text in lines for part in wrap(text, width, at_words=True)]


def _render_title(title: str, width: int) -> Line:
    return fit(line(Span(f" {title}", "selected heads")), width)
