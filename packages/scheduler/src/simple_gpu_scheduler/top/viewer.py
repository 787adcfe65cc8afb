"""The part of the dashboard that reads the queue, the GPUs and a log, each in its thread."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from simple_gpu_scheduler.allocation.gpu_status import GpuStatusReader
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.tail import TailReader
from simple_gpu_scheduler.leases.directory import lease_dir
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.system.inotify import watch_ends, watch_writes
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.top.reader import QueueReader
from simple_gpu_scheduler.top.refresh import Refresher, Watch
from simple_gpu_scheduler.top.screen.board import (
    Board,
    Formatters,
    Log,
    ScreenLines,
    idle_actions,
    part_heights,
    render_screen,
)
from simple_gpu_scheduler.top.screen.log_text import log_lines
from simple_gpu_scheduler.top.screen.scroll import clamp, follow_job
from simple_gpu_scheduler.top.screen.spans import Span
from simple_gpu_scheduler.top.screen.state import Query, QueueState
from simple_gpu_scheduler.top.widgets import FilterInput, KeysFooter, Lines, Pager
from simple_gpu_scheduler.top.worker_thread import WorkerThread

_MIN_REST_S = 0.1
_MIN_BETWEEN_S = 0.15
_POLL_S = 1.0  # without inotify
_MESSAGE_S = 5.0
_TAIL_BYTES, _PAGER_TAIL_BYTES = 1 << 16, 1 << 19
_QUIT_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

_Result = TypeVar("_Result")


class Viewer(App[None]):
    """Shows the queue, the GPUs and a log; `app.TopApp` adds the actions of the keys."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    CSS = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    ModalScreen { background: transparent; }
    Horizontal { height: 1; }
    Horizontal Static { width: auto; text-style: bold; }
    """

    def __init__(self, home: QueueHome, formatters: Formatters, interval_s: float) -> None:
        """Make the app.

        Args:
            home: the queue.
            formatters: how to show the end of a job, and GPUs.
            interval_s: how often to ask the driver, in seconds.
        """
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self._home = home
        self._formatters = formatters
        self._interval_s = interval_s
        self._board = Board(printable(socket.gethostname().partition(".")[0]))
        self._queue_thread = WorkerThread(QueueReader)
        self._gpu_thread = WorkerThread(GpuStatusReader)
        self._log_thread = WorkerThread(TailReader)
        self._queue_refresher = Refresher(self._read_queue, _MIN_REST_S)
        self._gpu_refresher = Refresher(self._read_gpus, _MIN_REST_S)
        self._log_refresher = Refresher(self._read_log, _MIN_REST_S)
        self._parts = {part: Lines(id=part) for part in ScreenLines._fields}
        self._footer, self._filter = KeysFooter(self._idle_actions), FilterInput()
        self._filter_line = Horizontal(Static(" filter: "), self._filter)
        self._filter_line.display = False
        self._footer_state: object = None  #: the footer is drawn again if this changes
        self._watches: list[Watch] = []
        self._version: object = None  #: version of the queue's file and id of its server, as read
        self._last_query: Query | None = None  #: None: the queue must be read again
        self._moves = 0  #: how often the user has moved
        self._ask_driver = True
        self._message_at_s = 0.0

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield from self._parts.values()
        yield self._footer
        yield self._filter_line

    def on_mount(self) -> None:
        """Start to read and to watch."""
        loop = asyncio.get_running_loop()
        for number in _QUIT_SIGNALS:
            loop.add_signal_handler(number, self._quit_by_signal, number)
        logs = os.path.join(self._home.folder, "logs")
        os.makedirs(logs, mode=0o700, exist_ok=True)
        self._watch(partial(watch_writes, [self._home.folder]), self._queue_refresher, _POLL_S)
        self._watch(partial(watch_writes, [logs]), self._log_refresher, _POLL_S)
        self._watch(partial(watch_ends, [lease_dir()]), self._gpu_refresher, None)
        for refresher in (self._queue_refresher, self._gpu_refresher, self._log_refresher):
            self.run_worker(refresher.run(), exit_on_error=True)
        self.set_interval(self._interval_s, self._request_driver)
        self.set_interval(1.0, self._tick)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh_all())
        self._queue_refresher.request()
        self._show()

    def refresh_all(self) -> None:
        """Draw everything again: another program may have written to the terminal."""
        for screen in self.screen_stack:
            screen.query("*").refresh()

    def _watch(self, watch: Callable[[], int], refresher: Refresher, poll_s: float | None) -> None:
        self._watches.append(Watch(watch, refresher.request, _MIN_BETWEEN_S, poll_s))

    def on_unmount(self) -> None:
        """Stop reading."""
        for watch in self._watches:
            watch.close()
        for worker in (self._queue_thread, self._gpu_thread, self._log_thread):
            worker.close()

    def on_resize(self) -> None:
        """Draw the screen in its new size."""
        self._show()

    # reading

    async def _read_queue(self) -> None:
        """Read the queue if its file or the query has changed."""
        query = self._current_query()
        version, moves = self._version, self._moves
        same_query = query == self._last_query

        def read(reader: QueueReader) -> tuple[object, QueueState | None]:
            new_version = reader.view.version(), reader.home.server_pid()
            if same_query and new_version == version:
                return new_version, None
            return new_version, reader.read(query)

        result = await self._result_or_message(self._queue_thread.ask(read))
        if result is None or result[1] is None:
            return
        self._version = result[0]
        self._apply(result[1], query, moves)

    def _current_query(self) -> Query:
        board = self._board
        rows = part_heights(board, self.size.height).jobs
        return Query(
            board.view, tuple(board.filter.split()), board.scroll, rows, self._pager_job()
        )

    def _pager_job(self) -> int | None:
        pager = self._pager
        return None if pager is None else pager.job

    @property
    def _pager(self) -> Pager | None:
        """The page on top of the board; None if there is none."""
        # While the app quits, the stack is empty.
        stack = self.screen_stack
        return stack[-1] if stack and isinstance(stack[-1], Pager) else None

    def _apply(self, state: QueueState, query: Query, moves: int) -> None:
        """Show what was read. If the user has moved since then, keep the user's cursor.

        Args:
            moves: `_moves` when the query was made.
        """
        board, moved = self._board, moves != self._moves
        rows = part_heights(board._replace(state=state), self.size.height).jobs
        scroll = clamp(state.scroll, state.total, rows)
        if moved:
            scroll = follow_job(board.scroll, state.find_line(board.scroll.job), state.total, rows)
        self._board = board._replace(state=state, scroll=scroll)
        self._stay_on_job()
        self._last_query = query if moved else query._replace(scroll=self._board.scroll)
        if self._current_query() != self._last_query:  # other lines have come onto the screen
            self._queue_refresher.request(soon=True)
        self._report_end(board.selected, state.left)
        self._gpu_refresher.request()
        self._log_refresher.request()
        self._show()

    def _report_end(self, selected: QueuedJob | None, left: QueuedJob | None) -> None:
        """Say how the selected job ended, if its end removed it from the list."""
        if selected is None or left is None or selected.id != left.id:
            return
        if left.state != selected.state:
            ending = printable(self._formatters.how_it_ended(left))
            self._show_message(Span(f"job {left.id} {left.state}{ending and ': ' + ending}"))

    def _stay_on_job(self) -> None:
        """Let the cursor follow the selected job; on the first line it stays there."""
        scroll, selected = self._board.scroll, self._board.selected
        job = selected.id if selected is not None and scroll.cursor else None
        self._board = self._board._replace(scroll=scroll._replace(job=job))

    async def _read_gpus(self) -> None:
        slots = () if self._board.state is None else self._board.state.slots
        ask_driver, self._ask_driver = self._ask_driver, False
        gpus = await self._result_or_message(
            self._gpu_thread.ask(lambda reader: reader.read(slots, ask_driver=ask_driver))
        )
        if gpus is not None and gpus != self._board.gpus:
            self._board = self._board._replace(gpus=gpus)
            self._show()

    def _request_driver(self) -> None:
        """Ask the driver again, not only who holds leases."""
        self._ask_driver = True
        self._gpu_refresher.request()

    async def _read_log(self) -> None:
        entry = self._subject()
        if entry is None or not entry.attempt:
            return
        path = self._home.log_path(entry.id, entry.attempt)
        max_bytes = _PAGER_TAIL_BYTES if self._pager_job() is not None else _TAIL_BYTES
        last = self._board.log

        def read(reader: TailReader) -> Log:
            tail = reader.read(path, max_bytes)
            if last is not None and last.path == path and last.tail is tail:
                return last
            lines = () if tail is None else log_lines(tail.data, whole=tail.whole)
            return Log(path, tail, lines)

        log = await self._result_or_message(self._log_thread.ask(read))
        if log is not None and log is not last:
            self._board = self._board._replace(log=log)
            self._show()

    def _subject(self) -> QueuedJob | None:
        """The job whose log or facts are shown."""
        state, pager_job = self._board.state, self._pager_job()
        if pager_job is None:
            return self._board.selected
        return None if state is None else state.subject

    async def _result_or_message(self, task: Awaitable[_Result]) -> _Result | None:
        """The result of a task; an error becomes a message on the screen, and the result None."""
        try:
            return await task
        except (SgsError, OSError) as error:
            self._show_message(Span(printable(str(error)), "bad"))
            return None

    # drawing

    def _show(self) -> None:
        width, lines = self.size
        if not width or not lines:
            return
        parts = render_screen(self._board, self._formatters, time.time(), width, lines)
        for part, content in parts._asdict().items():
            one_line = part in ("header", "titles", "rule")
            height = 1 if one_line else getattr(part_heights(self._board, lines), part)
            self._parts[part].show(content, height)
        if (pager := self._pager) is not None:
            pager.show()
        self._refresh_footer()

    def _refresh_footer(self) -> None:
        """Draw the footer again if other keys are dim, or if `h` now releases or holds."""
        subject = self._subject()
        footer_state = self._idle_actions(), None if subject is None else subject.state
        if footer_state != self._footer_state:
            self._footer_state = footer_state
            self.refresh_bindings()

    def _idle_actions(self) -> frozenset[str]:
        return idle_actions(self._board, self._subject())

    def _show_message(self, message: Span) -> None:
        self._message_at_s = time.monotonic()
        self._board = self._board._replace(message=message)
        self._show()

    def _tick(self) -> None:
        """Every second: draw the running times again, and remove an old message."""
        if self._board.message is not None and time.monotonic() - self._message_at_s > _MESSAGE_S:
            self._board = self._board._replace(message=None)
        self._show()

    def _quit_by_signal(self, number: int) -> None:
        self.exit(return_code=128 + number)
