"""The dashboard as far as it only looks: at the queue, the GPUs and a log, each in its thread."""

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
from simple_gpu_scheduler.leases.directory import lease_dir
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import Entry
from simple_gpu_scheduler.system.inotify import watch_ends, watch_writes
from simple_gpu_scheduler.system.tail import TailReader
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.top.reader import Looker
from simple_gpu_scheduler.top.refresh import Paced, Watch
from simple_gpu_scheduler.top.screen.board import (
    Board,
    Log,
    Picture,
    Words,
    divide,
    idle_actions,
    picture,
)
from simple_gpu_scheduler.top.screen.log_text import log_lines
from simple_gpu_scheduler.top.screen.scroll import followed, within
from simple_gpu_scheduler.top.screen.spans import Piece
from simple_gpu_scheduler.top.screen.state import Seen, Wish
from simple_gpu_scheduler.top.widgets import FilterInput, KeysFooter, Lines, Pager
from simple_gpu_scheduler.top.worker_thread import Desk

_LEAST_REST_S = 0.1
_LEAST_NEWS_S = 0.15
_POLL_S = 1.0
_SAID_S = 5.0
_TAIL_BYTES, _PAGER_TAIL_BYTES = 1 << 16, 1 << 19
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)

_Found = TypeVar("_Found")


class Viewer(App[None]):
    """Shows what there is, and what becomes of it; keys are `app.TopApp`'s."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    CSS = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    ModalScreen { background: transparent; }
    Horizontal { height: 1; }
    Horizontal Static { width: auto; text-style: bold; }
    """

    def __init__(self, home: QueueHome, words: Words, interval_s: float) -> None:
        """`interval_s`: so often is the driver asked."""
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self._home = home
        self._words = words
        self._interval_s = interval_s
        self._board = Board(printable(socket.gethostname().partition(".")[0]))
        self._queue, self._cards, self._logs = Desk(Looker), Desk(CardView), Desk(TailReader)
        self._looks = Paced(self._look, _LEAST_REST_S)
        self._card_looks = Paced(self._look_at_cards, _LEAST_REST_S)
        self._log_looks = Paced(self._look_at_log, _LEAST_REST_S)
        self._parts = {part: Lines(id=part) for part in Picture._fields}
        self._footer, self._filter = KeysFooter(self._idle), FilterInput()
        self._filter_line = Horizontal(Static(" filter: "), self._filter)
        self._filter_line.display = False
        self._keys: object = None  #: what the footer shows depends on this
        self._watches: list[Watch] = []
        self._version: object = None  #: of the queue's file, and who its server was, when read
        self._wish: Wish | None = None  #: as it was then
        self._moves = 0
        self._ask_driver = True
        self._said_s = 0.0

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield from self._parts.values()
        yield self._footer
        yield self._filter_line

    def on_mount(self) -> None:
        """Begin to look and to listen."""
        loop = asyncio.get_running_loop()
        for number in _ENDINGS:
            loop.add_signal_handler(number, self._end_by, number)
        logs = os.path.join(self._home.folder, "logs")
        os.makedirs(logs, mode=0o700, exist_ok=True)
        self._listen_to(partial(watch_writes, [self._home.folder]), self._looks, _POLL_S)
        self._listen_to(partial(watch_writes, [logs]), self._log_looks, _POLL_S)
        self._listen_to(partial(watch_ends, [lease_dir()]), self._card_looks, None)
        for paced in (self._looks, self._card_looks, self._log_looks):
            self.run_worker(paced.run(), exit_on_error=True)
        self.set_interval(self._interval_s, self._driver_is_due)
        self.set_interval(1.0, self._tick)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh_all())
        self._looks.want()
        self._show()

    def refresh_all(self) -> None:
        """Draw all of it: somebody else may have written to the terminal."""
        for screen in self.screen_stack:
            screen.query("*").refresh()

    def _listen_to(self, watch: Callable[[], int], looks: Paced, poll_s: float | None) -> None:
        self._watches.append(Watch(watch, looks.want, _LEAST_NEWS_S, poll_s))

    def on_unmount(self) -> None:
        """Look no more."""
        for watch in self._watches:
            watch.close()
        for desk in (self._queue, self._cards, self._logs):
            desk.close()

    def on_resize(self) -> None:
        """The terminal has another size."""
        self._show()

    # what is seen

    async def _look(self) -> None:
        """Read the queue, if somebody has written to it or something else is wished for."""
        wish = self._wished()
        version, moves = self._version, self._moves
        known = wish == self._wish

        def look(looker: Looker) -> tuple[object, Seen | None]:
            now = looker.view.version(), looker.home.server_pid()
            return now, None if known and now == version else looker.look(wish)

        found = await self._told(self._queue.ask(look))
        if found is None or found[1] is None:
            return
        self._version = found[0]
        self._take(found[1], wish, moves)

    def _wished(self) -> Wish:
        board = self._board
        rows = divide(board, self.size.height).jobs
        return Wish(
            board.view, tuple(board.filter.split()), board.place, rows, self._asked_about()
        )

    def _asked_about(self) -> int | None:
        pager = self._pager
        return None if pager is None else pager.job

    @property
    def _pager(self) -> Pager | None:
        """What is on top of the board; there is nothing at all while we quit."""
        stack = self.screen_stack
        return stack[-1] if stack and isinstance(stack[-1], Pager) else None

    def _take(self, seen: Seen, wish: Wish, moves: int) -> None:
        """See it; the place of the cursor only if nobody has moved it meanwhile."""
        board, moved = self._board, moves != self._moves
        rows = divide(board._replace(seen=seen), self.size.height).jobs
        place = within(seen.place, seen.total, rows)
        if moved:
            place = followed(board.place, seen.position(board.place.job), seen.total, rows)
        self._board = board._replace(seen=seen, place=place)
        self._stay_with_job()
        self._wish = wish if moved else wish._replace(place=self._board.place)
        if self._wished() != self._wish:  # other lines have come onto the screen
            self._looks.want(soon=True)
        self._tell_of_end(board.chosen, seen.left)
        self._card_looks.want()
        self._log_looks.want()
        self._show()

    def _tell_of_end(self, chosen: Entry | None, left: Entry | None) -> None:
        """The job that was chosen isn't listed any more, because of what became of it."""
        if chosen is not None and left is not None and chosen.id == left.id:
            how = self._words.how(left)
            if left.state != chosen.state:
                self._say(Piece(f"job {left.id} {left.state}{how and ': ' + printable(how)}"))

    def _stay_with_job(self) -> None:
        """The cursor goes with its job; but the first line is whatever comes first."""
        place, chosen = self._board.place, self._board.chosen
        job = chosen.id if chosen is not None and place.cursor else None
        self._board = self._board._replace(place=place._replace(job=job))

    async def _look_at_cards(self) -> None:
        slots = () if self._board.seen is None else self._board.seen.slots
        ask, self._ask_driver = self._ask_driver, False
        found = await self._told(self._cards.ask(lambda view: view.look(slots, ask_driver=ask)))
        if found is not None and found != self._board.cards:
            self._board = self._board._replace(cards=found)
            self._show()

    def _driver_is_due(self) -> None:
        self._ask_driver = True
        self._card_looks.want()

    async def _look_at_log(self) -> None:
        entry = self._subject()
        if entry is None or not entry.attempt:
            return
        path = self._home.log_path(entry.id, entry.attempt)
        most = _PAGER_TAIL_BYTES if self._asked_about() is not None else _TAIL_BYTES
        last = self._board.log

        def read(reader: TailReader) -> Log:
            tail = reader.read(path, most)
            if last is not None and last.of == path and last.tail is tail:
                return last
            lines = () if tail is None else log_lines(tail.data, whole=tail.whole)
            return Log(path, tail, lines)

        found = await self._told(self._logs.ask(read))
        if found is not None and found is not last:
            self._board = self._board._replace(log=found)
            self._show()

    def _subject(self) -> Entry | None:
        """The job whose log is shown."""
        seen, asked = self._board.seen, self._asked_about()
        if asked is None:
            return self._board.chosen
        return None if seen is None or seen.subject is None else seen.subject

    async def _told(self, asked: Awaitable[_Found]) -> _Found | None:
        """What was asked for; what is wrong is told the user."""
        try:
            return await asked
        except (SgsError, OSError) as error:
            self._say(Piece(printable(str(error)), "bad"))
            return None

    # what is shown

    def _show(self) -> None:
        width, lines = self.size
        if not width or not lines:
            return
        shown = picture(self._board, self._words, time.time(), width, lines)
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

    def _say(self, said: Piece) -> None:
        self._said_s = time.monotonic()
        self._board = self._board._replace(said=said)
        self._show()

    def _tick(self) -> None:
        """Time passes: that of jobs that run, and of what was said."""
        if self._board.said is not None and time.monotonic() - self._said_s > _SAID_S:
            self._board = self._board._replace(said=None)
        self._show()

    def _end_by(self, number: int) -> None:
        self.exit(return_code=128 + number)
