"""Where in a long list we are, against a list that is really there; and the window on a queue."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.files.tail import TailReader, read_tail
from simple_gpu_scheduler.queue.records import Context, JobRequest
from simple_gpu_scheduler.queue.store import pages as queue_view
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from simple_gpu_scheduler.queue.store.pages import by_section, by_state
from simple_gpu_scheduler.top.reader import QueueReader
from simple_gpu_scheduler.top.screen.scroll import (
    Scroll,
    clamp,
    find_line,
    follow_job,
    move_to,
    slice_sections,
)
from simple_gpu_scheduler.top.screen.state import VIEWS, Query

ORDER = "abcd"
sizes_of = st.fixed_dictionaries({name: st.integers(0, 6) for name in ORDER})
scrolls = st.builds(
    Scroll, st.integers(-3, 40), st.integers(-3, 40), st.none() | st.integers(1, 9)
)


@given(sizes_of, st.integers(-5, 30), st.integers(0, 30))
def test_parts_are_what_a_slice_of_the_list_is(
    sizes: dict[str, int], first: int, most: int
) -> None:
    whole = [(name, rank) for name in ORDER for rank in range(sizes[name])]
    found = [
        (one.section, one.first + place)
        for one in slice_sections(sizes, ORDER, first, most)
        for place in range(one.length)
    ]
    assert found == whole[max(0, first) : max(0, first + most)]
    for line, (name, rank) in enumerate(whole):
        assert find_line(sizes, ORDER, name, rank) == line
    assert find_line(sizes, "abc", "d", 0) is None


@given(scrolls, st.integers(0, 40), st.integers(1, 20), st.none() | st.integers(0, 39))
def test_the_cursor_is_always_on_the_screen(
    scroll: Scroll, total: int, rows: int, at: int | None
) -> None:
    for one in (
        clamp(scroll, total, rows),
        move_to(scroll.cursor, scroll, total, rows),
        follow_job(scroll, None if at is None or at >= total else at, total, rows),
    ):
        assert 0 <= one.top <= one.cursor < max(1, total)
        assert one.cursor < one.top + rows
        assert one.top == 0 or one.top <= max(0, total - rows), "no line is left empty"


def test_a_job_that_is_followed_stays_in_its_line_of_the_screen() -> None:
    scroll = Scroll(50, 47, 9)
    assert follow_job(scroll, 30, 100, 10) == Scroll(30, 27, 9)
    assert follow_job(scroll, 1, 100, 10) == Scroll(1, 0, 9)
    assert follow_job(scroll, None, 40, 10) == Scroll(39, 30, None)


# the window on a real queue

CONTEXT = Context(b"/tmp", ((b"A", b"b"),), 0o022)


@pytest.fixture
def reader() -> Iterator[QueueReader]:
    """A queue with some of everything, in no order."""
    one = QueueReader()
    store = one.home.store
    store.submit(CONTEXT, [_request(number) for number in range(1, 201)], 1.0)
    path = f"{one.home.folder}/queue.sqlite3"
    random.seed(1)
    with sqlite3.connect(path) as database:
        for job in range(1, 201):
            state = random.choice(["queued", "queued", "held", "running", "failed", "succeeded"])
            started = (
                random.randint(1, 50) if state in ("running", "failed", "succeeded") else None
            )
            ended = random.randint(50, 99) if state in ("failed", "succeeded") else None
            database.execute(
                "UPDATE jobs SET state = ?, started_s = ?, ended_s = ?, blockers = ?, "
                "priority = ? WHERE id = ?",
                (state, started, ended, random.choice([0, 0, 1]), random.choice([0, 0, 5]), job),
            )
    database.close()
    yield one
    one.close()


def _request(number: int) -> JobRequest:
    odd = number % 2
    command = b"echo 100% \xff" if odd else b"python Train_%d" % number
    return JobRequest(command, name=f"n{number % 7}", group="a%b" if odd else "")


@pytest.mark.parametrize(
    "words", [(), ("train_1",), ("queued",), ("n3", "100%"), ("17",), ("a%b",)]
)
@pytest.mark.parametrize("view", list(VIEWS))
def test_windows_are_cut_out_of_the_whole_list(
    reader: QueueReader, view: str, words: tuple[str, ...]
) -> None:
    every = {one.id: one for one in reader.home.store.entries()}
    whole = [job for section in VIEWS[view] for job in reader.view.jobs(section, words, 0, 1000)]
    assert len(set(whole)) == len(whole)
    for job in whole:
        one = every[job]
        text = f"{one.state} {one.name} {one.group} {one.command.decode(errors='replace')}".lower()
        assert all(word in text or word == str(job) for word in words)
    for rows in (1, 7):
        for cursor in (0, len(whole) // 2, len(whole) - 1):
            state = reader.read(Query(view, words, Scroll(cursor, cursor), rows))
            assert state.total == len(whole)
            assert [one.id for one in state.entries] == whole[state.first : state.first + 3 * rows]
            assert len(state.entries) <= 3 * rows, "never more than three screens are read"
    for line, job in enumerate(whole):
        state = reader.read(Query(view, words, Scroll(0, 0, job), 5))
        assert state.scroll.cursor == line
        assert state.subject == every[job]


def test_the_order_of_the_sections(reader: QueueReader) -> None:
    found = [one for name in VIEWS["all"] for one in reader.view.jobs(name, (), 0, 1000)]
    every = {one.id: one for one in reader.home.store.entries()}

    def turn(job: int) -> tuple[object, ...]:
        one = every[job]
        if one.state == "running":
            return 0, one.started_s, job
        if one.state == "queued":
            return 2 if one.blockers else 1, -one.priority, job
        if one.state == "held":
            return 3, job
        assert one.ended_s is not None
        return 4, -one.ended_s, -job

    assert found == sorted(every, key=turn)


def test_counts(reader: QueueReader) -> None:
    counts = reader.view.counts()
    assert by_state(counts) == reader.home.store.counts()
    assert sum(by_section(counts).values()) == 200
    assert by_section({}) == dict.fromkeys(VIEWS["all"], 0)


def test_a_job_that_is_not_in_the_view_any_more(reader: QueueReader) -> None:
    (ended, *_) = reader.view.jobs(queue_view.ENDED, (), 0, 1)
    state = reader.read(Query("open", (), Scroll(3, 0, ended), 5))
    assert (state.scroll.job, state.scroll.cursor) == (None, 3)
    assert state.left is not None
    assert state.left.id == ended
    asked = reader.read(Query("open", (), Scroll(), 5, job=ended))
    assert asked.subject is not None
    assert asked.subject.id == ended


def test_the_turn_of_jobs_that_wait(reader: QueueReader) -> None:
    ready = reader.view.jobs(queue_view.READY, (), 0, 1000)
    (runs, *_) = reader.view.jobs(queue_view.RUNS, (), 0, 1)
    last = ready[-1]
    assert reader.view.change_priority([last, runs], 9) == {last: 9}
    assert reader.view.jobs(queue_view.READY, (), 0, 1) == [last]
    assert reader.view.change_priority([last], -20) == {last: -11}
    assert reader.view.jobs(queue_view.READY, (), len(ready) - 1, 1) == [last]
    assert reader.view.change_priority([10**6], 1) == {}


def test_open_jobs_are_found_without_reading_those_that_ended(reader: QueueReader) -> None:
    """So that a screen costs the same after a year."""
    database = sqlite3.connect(f"{reader.home.folder}/queue.sqlite3")
    for name in VIEWS["open"]:
        section = queue_view._SECTIONS[name]
        query = f"EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE {section.where} AND 1"
        plan = [row[3] for row in database.execute(f"{query} ORDER BY {section.order} LIMIT 9")]
        assert "INDEX jobs_" in plan[0], (name, plan)
    database.close()


def test_the_file_tells_when_somebody_else_has_written(reader: QueueReader) -> None:
    before = reader.view.version()
    assert reader.view.version() == before
    other = QueueStore(f"{reader.home.folder}/queue.sqlite3")
    other.hold([1, 2, 3], held=True)
    other.set("drained", "1")
    other.close()
    assert reader.view.version() != before
    assert reader.read(Query(rows=3)).server.drained


# the end of a log


def test_the_end_of_a_huge_file_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "a\nb"
    with open(path, "wb") as file:
        file.seek(5 << 30)
        file.write(b"the end")
    tail = read_tail(str(path), 10)
    assert tail is not None
    assert (tail.data, tail.whole, tail.size) == (b"\0\0\0the end", False, (5 << 30) + 7)


def test_only_what_has_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = TailReader()
    assert reader.read(str(path), 100) is None
    path.write_bytes(b"one")
    first = reader.read(str(path), 100)
    assert first is not None
    assert (first.data, first.whole) == (b"one", True)
    assert reader.read(str(path), 100) is first
    with open(path, "ab") as file:
        file.write(b" two")
    second = reader.read(str(path), 5)
    assert second is not None
    assert (second.data, second.whole) == (b"e two", False)
    path.unlink()
    assert reader.read(str(path), 5) is None
