"""Keys in Textual's own harness, on a queue whose server starts nothing; and the threads below."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.events import Paste
from textual.widgets._footer import FooterKey

from queues import SGS
from simple_gpu_scheduler.cli.gpus import table as gpus_report
from simple_gpu_scheduler.cli.queue.jobs import how_it_ended
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import Context, JobRequest
from simple_gpu_scheduler.top import refresh, viewer
from simple_gpu_scheduler.top.app import TopApp
from simple_gpu_scheduler.top.bindings import BINDINGS, help_rows, parse_keymap
from simple_gpu_scheduler.top.refresh import Refresher, Watch
from simple_gpu_scheduler.top.screen.board import Board, Formatters
from simple_gpu_scheduler.top.screen.keys import render_help
from simple_gpu_scheduler.top.screen.spans import plain_text
from simple_gpu_scheduler.top.widgets import Confirm, KeysFooter, Lines, Pager
from simple_gpu_scheduler.top.worker_thread import WorkerThread
from waiting import BOUND_S

CONTEXT = Context(b"/tmp", (), 0o022)
Press = Callable[..., Awaitable[None]]


class Session:
    """The app in its harness."""

    def __init__(self, app: TopApp, press: Press, resize: Press) -> None:
        self.app = app
        self.press = press
        self.resize = resize

    @property
    def board(self) -> Board:
        return self.app._board

    @property
    def job(self) -> int | None:
        return None if self.board.selected is None else self.board.selected.id

    @property
    def footer(self) -> str:
        keys = self.app.query_one(KeysFooter).query(FooterKey)
        return " ".join(f" {key.key_display} {key.description}" for key in keys)

    def line(self, part: str) -> str:
        (one,) = self.app.query_one(f"#{part}", Lines)._lines
        return plain_text(one)

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


def with_app(
    home: QueueHome,
    test: Callable[[Session], Awaitable[None]],
    keymap: Mapping[str, str] | None = None,
) -> None:
    async def run() -> None:
        formatters = Formatters(how_it_ended, gpus_report.short_names, gpus_report.table)
        app = TopApp(home, formatters, 1.0)
        app.set_keymap(keymap or {})
        async with app.run_test(size=(80, 24)) as pilot:
            session = Session(app, pilot.press, pilot.resize_terminal)
            await session.until(lambda: session.board.state and session.board.gpus)
            await session.until(lambda: len(session.board.gpus.cards) == 2)
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
        assert top.board.scroll.cursor == 0

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
        await top.until(lambda: top.board.state.total == 1 and top.job == 30)
        assert 'all "n29" 1-1 of 1' in top.line("titles")
        await top.press("escape")
        await top.until(lambda: top.board.state.total == 30)

    with_app(home, test)


def test_in_a_job_screen_keys_are_about_that_job(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        await top.press("down", "down", "i")
        await top.until(lambda: isinstance(top.app.screen, Pager))
        await top.until(lambda: top.board.state.subject.id == 3)
        await top.press("h", "a", "slash")  # the latter two are the board's
        await top.until(lambda: home.store.entry(3).state == "held")
        assert (top.board.view, top.app._filter_line.display) == ("all", False)
        await top.press("q")
        await top.until(lambda: not isinstance(top.app.screen, Pager))
        assert top.app.is_running

    with_app(home, test)


def test_the_page_lists_the_keys_that_are_bound(home: QueueHome) -> None:
    page = (Path(__file__).parents[4] / "docs" / "top.md").read_text()

    async def test(top: Session) -> None:
        rows = help_rows(top.app, top.app.screen.active_bindings.values())
        assert re.findall(r"^\| `(.+)` \| (.+) \|$", page, re.M) == rows
        lines = [plain_text(one) for one in render_help(rows, 80)]
        assert max(map(len, lines)) <= 80
        assert len(lines) <= 22, "one screen of 24 lines"

    with_app(home, test)


def test_every_key_has_one_action() -> None:
    bound = Binding.make_bindings(BINDINGS)
    owners = {(one.key, one.id) for one in bound}
    assert len(owners) == len({key for key, _ in owners})
    assert all(binding.id for binding in BINDINGS)


def test_the_footer_fits_and_help_and_quit_are_the_last_to_go(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        for width in (200, 80, 60, 30, 16, 10):
            await top.resize(width, 24)
            await top.until(lambda width=width: top.app.query_one(KeysFooter).size.width == width)
            await top.until(lambda width=width: fits(top.footer, width))

    def fits(footer: str, width: int) -> bool:
        room = len(footer) <= max(width, 15) and footer.endswith(" ? help  q quit")
        return room and (width < 80 or " c cancel  h hold  +- prio  r retry  a view " in footer)

    with_app(home, test)


def test_other_keys(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        await top.until(lambda: "x hold" in top.footer and "h hold" not in top.footer)
        await top.press("x")
        await top.until(lambda: home.store.entry(1).state == "held")
        await top.press("h")
        await top.press("delete", "y")
        await top.until(lambda: home.store.entry(2).state == "cancelled")
        assert home.store.entry(1).state == "held", "h has lost its action"

    with_app(home, test, parse_keymap(["hold=x", "cancel=delete,C"]))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("hold", "expected ACTION=KEY with one of up, down, "),
        ("fly=x", "expected ACTION=KEY with one of up, down, "),
        ("hold=", "expected keys as Textual names them"),
        ("hold=x,nokey", "expected keys as Textual names them"),
        ("hold=c", "c would be the key of cancel and of hold"),
    ],
)
def test_keys_that_cannot_be(option: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        parse_keymap([option])


def test_two_actions_can_swap_their_keys() -> None:
    assert parse_keymap(["hold=c", "cancel=h"]) == {"hold": "c", "cancel": "h"}


def test_what_is_pasted_into_the_filter_is_printable(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        await top.press("slash")
        top.app.post_message(Paste("n2\x1b]0;title\x07\u202e9\nmore"))
        await top.until(lambda: top.board.filter == "n2]0;title9")

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
        await top.until(lambda: top.board.state.total == 31)

    with_app(home, test)


def test_what_others_do_is_seen(home: QueueHome) -> None:
    async def test(top: Session) -> None:
        home.store.hold([1, 2], held=True)
        await top.until(lambda: top.board.state.counts.get("held") == 2)
        home.store.submit(CONTEXT, [JobRequest(b"true", priority=9)], 1.0)
        await top.until(lambda: top.job == 31)

    with_app(home, test)


class Resource:
    """A resource that only one thread may touch."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_a_worker_thread_does_its_tasks_in_order() -> None:
    async def run() -> None:
        worker = WorkerThread(Resource)
        asked = [worker.ask(lambda resource, n=n: (n, resource)) for n in range(9)]
        answers = await asyncio.gather(*asked)
        assert [n for n, _ in answers] == list(range(9))
        (resource,) = {resource for _, resource in answers}
        assert resource.thread not in (threading.get_ident(), None)
        with pytest.raises(ZeroDivisionError):
            await worker.ask(lambda _: 1 // 0)
        assert await worker.ask(lambda _: "still there") == "still there"
        worker.close()
        assert resource.closed

    asyncio.run(run())


def test_a_resource_that_cannot_be_had_is_tried_again() -> None:
    tries: list[int] = []

    def open_resource() -> Resource:
        tries.append(1)
        if len(tries) == 1:
            raise SgsError("not yet")
        return Resource()

    async def run() -> None:
        worker = WorkerThread(open_resource)
        with pytest.raises(SgsError, match="not yet"):
            await worker.ask(lambda _: None)
        assert await worker.ask(lambda _: 7) == 7
        worker.close()

    asyncio.run(run())


def test_a_driver_that_hangs_keeps_nobody_from_quitting() -> None:
    hangs, let_go = threading.Event(), threading.Event()

    def work(_: Resource) -> None:
        hangs.set()
        let_go.wait()

    async def run() -> None:
        worker = WorkerThread(Resource)
        asked = asyncio.ensure_future(worker.ask(work))
        await asyncio.to_thread(hangs.wait)
        worker.close()  # comes back
        assert not asked.done()
        asked.cancel()
        assert worker._thread.daemon
        let_go.set()
        worker._thread.join()

    asyncio.run(run())


def test_after_a_change_it_is_called_twice_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change can be read only a little after the kernel reports it."""
    monkeypatch.setattr(refresh, "_LAST_CALL_S", 0.02)
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
        refresher = Refresher(work, 3600.0)
        task = asyncio.ensure_future(refresher.run())
        for _ in range(9):
            refresher.request()
        await asyncio.sleep(0.05)
        assert len(done) == 1, "once for all that was wanted, and then a rest"
        refresher.request()
        await asyncio.sleep(0.05)
        assert len(done) == 1
        refresher.request(soon=True)
        await asyncio.sleep(0.05)
        assert len(done) == 2
        task.cancel()

    asyncio.run(run())
