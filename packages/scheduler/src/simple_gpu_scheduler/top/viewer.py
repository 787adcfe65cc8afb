"""The part of the dashboard that reads: the queue, the GPUs and a log, each in its thread."""

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

from simple_gpu_scheduler.allocation.gpu_status import CardView
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
    divide,
    idle_actions,
    screen_lines,
)
from simple_gpu_scheduler.top.screen.log_text import log_lines
from simple_gpu_scheduler.top.screen.scroll import followed, within
from simple_gpu_scheduler.top.screen.spans import Span
from simple_gpu_scheduler.top.screen.state import Query, QueueState
from simple_gpu_scheduler.top.widgets import FilterInput, KeysFooter, Lines, Pager
from simple_gpu_scheduler.top.worker_thread import WorkerThread

_LEAST_REST_S = 0.1
_LEAST_BETWEEN_S = 0.15
_POLL_S = 1.0
_MESSAGE_S = 5.0
_TAIL_BYTES, _PAGER_TAIL_BYTES = 1 << 16, 1 << 19
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)

_Result = TypeVar("_Result")


class Viewer(App[None]):
    """Shows the queue, the GPUs and a log; `app.TopApp` adds the keys."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    CSS = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    ModalScreen { background: transparent; }
    Horizontal { height: 1; }
    Horizontal Static { width: auto; text-style: bold; }
    """

    def __init__(self, home: QueueHome, formatters: Formatters, interval_s: float) -> None:
        """`interval_s`: the time between two questions to the driver."""
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self._home = home
        self._formatters = formatters
        self._interval_s = interval_s
        self._board = Board(printable(socket.gethostname().partition(".")[0]))
        self._queue_thread = WorkerThread(QueueReader)
        self._gpu_thread = WorkerThread(CardView)
        self._log_thread = WorkerThread(TailReader)
        self._queue_refresher = Refresher(self._read_queue, _LEAST_REST_S)
        self._gpu_refresher = Refresher(self._read_gpus, _LEAST_REST_S)
        self._log_refresher = Refresher(self._read_log, _LEAST_REST_S)
        self._parts = {part: Lines(id=part) for part in ScreenLines._fields}
        self._footer, self._filter = KeysFooter(self._idle), FilterInput()
        self._filter_line = Horizontal(Static(" filter: "), self._filter)
        self._filter_line.display = False
        self._keys: object = None  #: what the footer shows depends on this
        self._watches: list[Watch] = []
        self._version: object = None  #: of the queue's file, and who its server was, when read
        self._query_read: Query | None = None  #: as it was then
        self._moves = 0
        self._ask_driver = True
        self._message_s = 0.0

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield from self._parts.values()
        yield self._footer
        yield self._filter_line

    def on_mount(self) -> None:
        """Begin to read and to watch."""
        loop = asyncio.get_running_loop()
        for number in _ENDINGS:
            loop.add_signal_handler(number, self._end_by, number)
        logs = os.path.join(self._home.folder, "logs")
        os.makedirs(logs, mode=0o700, exist_ok=True)
        self._listen_to(partial(watch_writes, [self._home.folder]), self._queue_refresher, _POLL_S)
        self._listen_to(partial(watch_writes, [logs]), self._log_refresher, _POLL_S)
        self._listen_to(partial(watch_ends, [lease_dir()]), self._gpu_refresher, None)
        for refresher in (self._queue_refresher, self._gpu_refresher, self._log_refresher):
            self.run_worker(refresher.run(), exit_on_error=True)
        self.set_interval(self._interval_s, self._driver_is_due)
        self.set_interval(1.0, self._tick)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh_all())
        self._queue_refresher.request()
        self._show()

    def refresh_all(self) -> None:
        """Draw all of it: somebody else may have written to the terminal."""
        for screen in self.screen_stack:
            screen.query("*").refresh()

    def _listen_to(
        self, watch: Callable[[], int], refresher: Refresher, poll_s: float | None
    ) -> None:
        self._watches.append(Watch(watch, refresher.request, _LEAST_BETWEEN_S, poll_s))

    def on_unmount(self) -> None:
        """Stop reading."""
        for watch in self._watches:
            watch.close()
        for worker in (self._queue_thread, self._gpu_thread, self._log_thread):
            worker.close()

    def on_resize(self) -> None:
        """The terminal has another size."""
        self._show()

    # reading

    async def _read_queue(self) -> None:
        """Read the queue, if somebody has written to it or the query has changed."""
        query = self._query_now()
        version, moves = self._version, self._moves
        same_query = query == self._query_read

        def read(reader: QueueReader) -> tuple[object, QueueState | None]:
            now = reader.view.version(), reader.home.server_pid()
            return now, None if same_query and now == version else reader.read(query)

        result = await self._result_or_message(self._queue_thread.ask(read))
        if result is None or result[1] is None:
            return
        self._version = result[0]
        self._apply(result[1], query, moves)

    def _query_now(self) -> Query:
        board = self._board
        rows = divide(board, self.size.height).jobs
        return Query(
            board.view, tuple(board.filter.split()), board.scroll, rows, self._pager_job()
        )

    def _pager_job(self) -> int | None:
        pager = self._pager
        return None if pager is None else pager.job

    @property
    def _pager(self) -> Pager | None:
        """The page on top of the board, if there is one; while we quit, no screen is left."""
        stack = self.screen_stack
        return stack[-1] if stack and isinstance(stack[-1], Pager) else None

    def _apply(self, state: QueueState, query: Query, moves: int) -> None:
        """Take over what was read; the cursor only if nobody has moved it meanwhile."""
        board, moved = self._board, moves != self._moves
        rows = divide(board._replace(state=state), self.size.height).jobs
        scroll = within(state.scroll, state.total, rows)
        if moved:
            scroll = followed(board.scroll, state.position(board.scroll.job), state.total, rows)
        self._board = board._replace(state=state, scroll=scroll)
        self._follow_job()
        self._query_read = query if moved else query._replace(scroll=self._board.scroll)
        if self._query_now() != self._query_read:  # other lines have come onto the screen
            self._queue_refresher.request(soon=True)
        self._report_end(board.chosen, state.left)
        self._gpu_refresher.request()
        self._log_refresher.request()
        self._show()

    def _report_end(self, chosen: QueuedJob | None, left: QueuedJob | None) -> None:
        """Say how the chosen job ended, if that removed it from the list."""
        if chosen is not None and left is not None and chosen.id == left.id:
            how = self._formatters.how(left)
            if left.state != chosen.state:
                self._show_message(
                    Span(f"job {left.id} {left.state}{how and ': ' + printable(how)}")
                )

    def _follow_job(self) -> None:
        """The cursor goes with its job; but the first line is whatever comes first."""
        scroll, chosen = self._board.scroll, self._board.chosen
        job = chosen.id if chosen is not None and scroll.cursor else None
        self._board = self._board._replace(scroll=scroll._replace(job=job))

    async def _read_gpus(self) -> None:
        slots = () if self._board.state is None else self._board.state.slots
        ask, self._ask_driver = self._ask_driver, False
        gpus = await self._result_or_message(
            self._gpu_thread.ask(lambda view: view.look(slots, ask_driver=ask))
        )
        if gpus is not None and gpus != self._board.cards:
            self._board = self._board._replace(cards=gpus)
            self._show()

    def _driver_is_due(self) -> None:
        self._ask_driver = True
        self._gpu_refresher.request()

    async def _read_log(self) -> None:
        entry = self._subject()
        if entry is None or not entry.attempt:
            return
        path = self._home.log_path(entry.id, entry.attempt)
        most = _PAGER_TAIL_BYTES if self._pager_job() is not None else _TAIL_BYTES
        last = self._board.log

        def read(reader: TailReader) -> Log:
            tail = reader.read(path, most)
            if last is not None and last.of == path and last.tail is tail:
                return last
            lines = () if tail is None else log_lines(tail.data, whole=tail.whole)
            return Log(path, tail, lines)

        log = await self._result_or_message(self._log_thread.ask(read))
        if log is not None and log is not last:
            self._board = self._board._replace(log=log)
            self._show()

    def _subject(self) -> QueuedJob | None:
        """The job whose log is shown."""
        state, asked = self._board.state, self._pager_job()
        if asked is None:
            return self._board.chosen
        return None if state is None else state.subject

    async def _result_or_message(self, asked: Awaitable[_Result]) -> _Result | None:
        """The result; an error becomes a message on the screen."""
        try:
            return await asked
        except (SgsError, OSError) as error:
            self._show_message(Span(printable(str(error)), "bad"))
            return None

    # drawing

    def _show(self) -> None:
        width, lines = self.size
        if not width or not lines:
            return
        shown = screen_lines(self._board, self._formatters, time.time(), width, lines)
        for part, content in shown._asdict().items():
            one_line = part in ("header", "titles", "rule")
            height = 1 if one_line else getattr(divide(self._board, lines), part)
            self._parts[part].show(content, height)
        if (pager := self._pager) is not None:
            pager.show()
        self._refresh_keys()

    def _refresh_keys(self) -> None:
        """Have Textual draw the footer again, if other keys are dim or `h` does another thing."""
        subject = self._subject()
        keys = self._idle(), None if subject is None else subject.state
        if keys != self._keys:
            self._keys = keys
            self.refresh_bindings()

    def _idle(self) -> frozenset[str]:
        return idle_actions(self._board, self._subject())

    def _show_message(self, message: Span) -> None:
        self._message_s = time.monotonic()
        self._board = self._board._replace(message=message)
        self._show()

    def _tick(self) -> None:
        """Every second: draw the running times again, and remove an old message."""
        if self._board.message is not None and time.monotonic() - self._message_s > _MESSAGE_S:
            self._board = self._board._replace(message=None)
        self._show()

    def _end_by(self, number: int) -> None:
        self.exit(return_code=128 + number)
