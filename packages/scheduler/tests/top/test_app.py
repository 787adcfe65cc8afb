"""Keys in Textual's own harness, on a queue whose server starts nothing; and the threads below."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from queues import SGS
from simple_gpu_scheduler.cli.gpus import table as gpus_report
from simple_gpu_scheduler.cli.queue.jobs import how_it_ended
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import Context, JobRequest
from simple_gpu_scheduler.top import refresh as news
from simple_gpu_scheduler.top import viewer
from simple_gpu_scheduler.top.app import TopApp
from simple_gpu_scheduler.top.refresh import Paced, Watch
from simple_gpu_scheduler.top.screen.board import Board, Words
from simple_gpu_scheduler.top.screen.spans import plain
from simple_gpu_scheduler.top.widgets import Confirm, Lines, Pager
from simple_gpu_scheduler.top.worker_thread import Desk
from waiting import BOUND_S

CONTEXT = Context(b"/tmp", (), 0o022)
Press = Callable[..., Awaitable[None]]


class Session:
    """The app in its harness."""

    def __init__(self, app: TopApp, press: Press) -> None:
        self.app = app
        self.press = press

    @property
    def board(self) -> Board:
        return self.app._board

    @property
    def job(self) -> int | None:
        return None if self.board.chosen is None else self.board.chosen.id

    def line(self, part: str) -> str:
        (one,) = self.app.query_one(f"#{part}", Lines)._lines
        return plain(one)

    async def until(self, seen: Callable[[], object]) -> None:
        until_s = time.monotonic() + BOUND_S
        while not seen():
            assert time.monotonic() < until_s, self.board
            await asyncio.sleep(0.01)


@pytest.fixture
def home() -> Iterator[QueueHome]:
    """A queue with 30 jobs that wait, and a server that was told to start none."""
    one = QueueHome()
    one.store.set("gpus", "0,1")
    one.store.set("drained", "1")
    one.store.submit(CONTEXT, [JobRequest(b"true", name=f"n{n}") for n in range(30)], 1.0)
    subprocess.run([SGS, "server", "start"], check=True, timeout=BOUND_S)
    yield one
    subprocess.run([SGS, "server", "stop"], check=True, timeout=BOUND_S)
    one.store.close()


def with_app(home: QueueHome, test: Callable[[Session], Awaitable[None]]) -> None:
    async def run() -> None:
        words = Words(how_it_ended, gpus_report.short_names, gpus_report.table)
        app = TopApp(home, words, 1.0)
        async with app.run_test(size=(80, 24)) as pilot:
            session = Session(app, pilot.press)
            await session.until(lambda: session.board.seen and session.board.cards)
            await session.until(lambda: len(session.board.cards.gpus) == 2)
            await test(session)

    asyncio.run(run())


def test_moving(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        rows = len(top.app.query_one("#jobs", Lines)._lines)
        assert top.job == 1
        for key, job in (
            ("down", 2), ("j", 3), ("k", 2), ("up", 1), ("up", 1), ("pagedown", rows),
            ("end", 30), ("down", 30), ("pageup", 31 - rows), ("home", 1),
        ):  # fmt: skip
            await top.press(key)
            await top.until(lambda job=job: top.job == job)

    with_app(home, test)


def test_holding_raising_and_marking(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        await top.press("down", "h")
        await top.until(lambda: "held: job 2" in top.line("rule"))
        assert home.store.entry(2).state == "held"
        assert top.job == 2, "the cursor goes with its job"
        await top.press("home", "space", "space", "plus")
        await top.until(lambda: "priority 1: jobs 1,3" in top.line("rule"))
        assert [home.store.entry(job).priority for job in (1, 2, 3)] == [1, 0, 1]
        assert not top.board.marked
        await top.press("home", "space", "u", "minus")
        await top.until(lambda: "priority 0: job 3" in top.line("rule"))

    with_app(home, test)


def test_on_the_first_line_the_cursor_stays(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        await top.press("h")
        await top.until(lambda: "held: job 1" in top.line("rule"))
        await top.until(lambda: top.job == 2)
        assert top.board.place.cursor == 0

    with_app(home, test)


def test_only_y_cancels(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        for key in ("n", "escape", "enter", "q"):
            await top.press("c")
            await top.until(lambda: isinstance(top.app.screen, Confirm))
            await top.press(key)
            await top.until(lambda: "not cancelled" in top.line("rule"))
        assert home.store.entry(1).state == "queued"
        await top.press("c", "y")
        await top.until(lambda: "cancelled: job 1" in top.line("rule"))
        assert home.store.entry(1).state == "cancelled"

    with_app(home, test)


def test_what_is_typed_at_once_after_a_slash_is_the_filter(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        await top.press("slash", *"c n2 qh", "backspace", "backspace")
        assert top.board.filter == "c n2 "
        assert not isinstance(top.app.screen, Confirm)
        await top.press("ctrl+u", *"n29", "enter")
        await top.until(lambda: top.board.seen.total == 1 and top.job == 30)
        assert 'all "n29" 1-1 of 1' in top.line("titles")
        await top.press("escape")
        await top.until(lambda: top.board.seen.total == 30)

    with_app(home, test)


def test_in_a_job_screen_keys_are_about_that_job(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        await top.press("down", "down", "i")
        await top.until(lambda: isinstance(top.app.screen, Pager))
        await top.until(lambda: top.board.seen.subject.id == 3)
        await top.press("h", "a", "slash")  # the latter two are the board's
        await top.until(lambda: home.store.entry(3).state == "held")
        assert (top.board.view, top.board.asks) == ("all", False)
        await top.press("q")
        await top.until(lambda: not isinstance(top.app.screen, Pager))
        assert top.app.is_running

    with_app(home, test)


def test_what_goes_wrong_is_told(home: QueueHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise SgsError("the disk is\nfull")

    async def test(top: Session) -> None:
        monkeypatch.setattr("simple_gpu_scheduler.queue.store.jobs.QueueStore.hold", fails)
        await top.press("h")
        await top.until(lambda: r"the disk is\nfull" in top.line("rule"))
        assert top.app.is_running

    with_app(home, test)


def test_without_inotify_it_looks_now_and_then(
    home: QueueHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: object) -> int:
        raise OSError(24, "too many")

    monkeypatch.setattr(viewer, "watch_writes", none_left)
    monkeypatch.setattr(viewer, "watch_ends", none_left)

    async def test(top: Session) -> None:
        home.store.submit(CONTEXT, [JobRequest(b"true")], 1.0)
        await top.until(lambda: top.board.seen.total == 31)

    with_app(home, test)


def test_what_others_do_is_seen(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        home.store.hold([1, 2], held=True)
        await top.until(lambda: top.board.seen.counts.get("held") == 2)
        home.store.submit(CONTEXT, [JobRequest(b"true", priority=9)], 1.0)
        await top.until(lambda: top.job == 31)

    with_app(home, test)


class Tool:
    """A tool that only one thread may touch."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_a_desk_works_in_order_in_one_thread() -> None:
    async def run() -> None:
        desk = Desk(Tool)
        found = await asyncio.gather(*(desk.ask(lambda tool, n=n: (n, tool)) for n in range(9)))
        assert [n for n, _ in found] == list(range(9))
        (tool,) = {tool for _, tool in found}
        assert tool.thread not in (threading.get_ident(), None)
        with pytest.raises(ZeroDivisionError):
            await desk.ask(lambda _: 1 // 0)
        assert await desk.ask(lambda _: "still there") == "still there"
        desk.close()
        assert tool.closed

    asyncio.run(run())


def test_a_tool_that_cannot_be_had_is_tried_again() -> None:
    tries: list[int] = []

    def open_tool() -> Tool:
        tries.append(1)
        if len(tries) == 1:
            raise SgsError("not yet")
        return Tool()

    async def run() -> None:
        desk = Desk(open_tool)
        with pytest.raises(SgsError, match="not yet"):
            await desk.ask(lambda _: None)
        assert await desk.ask(lambda _: 7) == 7
        desk.close()

    asyncio.run(run())


def test_a_driver_that_hangs_keeps_nobody_from_quitting() -> None:
    hangs, let_go = threading.Event(), threading.Event()

    def work(_: Tool) -> None:
        hangs.set()
        let_go.wait()

    async def run() -> None:
        desk = Desk(Tool)
        asked = asyncio.ensure_future(desk.ask(work))
        await asyncio.to_thread(hangs.wait)
        desk.close()  # comes back
        assert not asked.done()
        asked.cancel()
        assert desk._thread.daemon
        let_go.set()
        desk._thread.join()

    asyncio.run(run())


def test_after_news_it_is_told_twice_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is to be seen only a little after the kernel tells of it."""
    monkeypatch.setattr(news, "_LAST_S", 0.02)
    told: list[int] = []

    async def run() -> None:
        readable, write = os.pipe()
        os.set_blocking(readable, False)
        watch = Watch(lambda: readable, lambda: told.append(1), 0.01)
        await asyncio.sleep(0.1)
        assert not told
        for number in (3, 6):
            os.write(write, b"news")
            until_s = time.monotonic() + BOUND_S
            while len(told) < number:
                assert time.monotonic() < until_s
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len(told) == number
        watch.close()
        os.close(write)

    asyncio.run(run())


def test_looking_is_paced_but_for_a_person_who_waits() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    async def run() -> None:
        paced = Paced(work, 3600.0)
        task = asyncio.ensure_future(paced.run())
        for _ in range(9):
            paced.want()
        await asyncio.sleep(0.05)
        assert len(done) == 1, "once for all that was wanted, and then a rest"
        paced.want()
        await asyncio.sleep(0.05)
        assert len(done) == 1
        paced.want(soon=True)
        await asyncio.sleep(0.05)
        assert len(done) == 2
        task.cancel()

    asyncio.run(run())
