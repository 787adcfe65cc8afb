"""The queue's file: what was accepted is there, ids are never used again, needs are heeded."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.jobs.job import share_units
from simple_gpu_scheduler.queue.records import Attempt, AttemptEnd, Context, JobRequest, Submitted
from simple_gpu_scheduler.queue.store.jobs import QueueStore

AWKWARD = 'it\'s "é" $HOME\n\\ \udcff;'.encode(errors="surrogateescape")
CONTEXT = Context(b"/tmp/a b\xff", ((b"PATH", b"/bin"), (b"ODD", AWKWARD)), 0o27)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[QueueStore]:
    """An empty queue."""
    one = QueueStore(str(tmp_path / "queue.sqlite3"))
    yield one
    one.close()


def submit(store: QueueStore, *requests: JobRequest, now_s: float = 1.0) -> list[int]:
    return [one.id for one in store.submit(CONTEXT, requests, now_s)]


def run(store: QueueStore, job: int, state: str, code: int | None = 0) -> None:
    """Start it and let it end."""
    entry = store.entry(job)
    assert entry is not None
    store.start([Attempt(job, entry.attempt + 1, "l", ("0",), 2.0)])
    store.record([], [AttemptEnd(job, entry.attempt + 1, state, 3.0, code)])


def states(store: QueueStore) -> dict[int, str]:
    return {one.id: one.state for one in store.entries()}


def test_what_was_submitted_comes_back_as_it_was(store: QueueStore) -> None:
    asked = JobRequest(
        AWKWARD, 2, share_units(4), 512, True, -3, not_before_s=7.5, timeout_s=60.5, tries=3,
        name="né", group="g g", key="k",
    )  # fmt: skip
    (job,) = submit(store, asked)
    entry = store.entry(job)
    assert entry is not None
    assert (entry.command, entry.gpus, entry.units) == (AWKWARD, 2, share_units(4))
    assert (entry.memory_mib, entry.auto_memory, entry.priority) == (512, True, -3)
    assert (entry.not_before_s, entry.timeout_s, entry.tries) == (7.5, 60.5, 3)
    assert (entry.name, entry.group, entry.key, entry.state) == ("né", "g g", "k", "queued")
    assert store.context(entry.context) == CONTEXT


def test_those_of_higher_priority_come_first_then_those_submitted_first(store: QueueStore) -> None:
    jobs = submit(store, *(JobRequest(b"x", priority=p) for p in (0, 5, 0, 5, -1)))
    ready = [one.id for one in store.ready(1.0, 10)]
    assert ready == [jobs[1], jobs[3], jobs[0], jobs[2], jobs[4]]
    assert [one.id for one in store.ready(1.0, 2)] == ready[:2]


def test_a_job_that_is_to_start_later_is_ready_then(store: QueueStore) -> None:
    (job,) = submit(store, JobRequest(b"x", not_before_s=10.0))
    assert store.ready(9.9, 5) == []
    assert store.next_time_s() == 10.0
    assert [one.id for one in store.ready(10.0, 5)] == [job]
    assert store.next_time_s() == 10.0  # a query writes nothing
    store.release_due(10.0)
    assert store.next_time_s() is None
    assert [one.id for one in store.ready(10.0, 5)] == [job]


def test_who_is_due_has_his_turn_among_those_that_are_ready(store: QueueStore) -> None:
    first, due, urgent, later = submit(
        store,
        JobRequest(b"x"),
        JobRequest(b"x", not_before_s=5.0),
        JobRequest(b"x", not_before_s=5.0, priority=1),
        JobRequest(b"x", not_before_s=11.0),
    )
    ready = [job.id for job in store.ready(10.0, 5)]
    assert ready == [urgent, first, due]
    assert [job.id for job in store.ready(10.0, 2)] == ready[:2]
    store.release_due(10.0)
    assert [job.id for job in store.ready(10.0, 5)] == ready
    assert later not in ready


def test_needs_hold_a_job_back_until_all_are_over(store: QueueStore) -> None:
    first, second = submit(store, JobRequest(b"1"), JobRequest(b"2"))
    (third,) = submit(store, JobRequest(b"3", after=(first,), after_any=(second,)))
    run(store, first, "succeeded")
    assert third not in [one.id for one in store.ready(9.0, 9)]
    run(store, second, "failed", 1)
    assert third in [one.id for one in store.ready(9.0, 9)]


def test_a_job_that_needs_one_that_failed_never_runs_nor_do_those_that_need_it(
    store: QueueStore,
) -> None:
    (first,) = submit(store, JobRequest(b"1"))
    (second,) = submit(store, JobRequest(b"2", after=(first,)))
    (third,) = submit(store, JobRequest(b"3", after=(second,)))
    (fourth,) = submit(store, JobRequest(b"4", after_any=(second,)))
    run(store, first, "failed", 1)
    assert states(store) == {
        first: "failed", second: "cancelled", third: "cancelled", fourth: "queued"
    }  # fmt: skip
    entry = store.entry(third)
    assert entry is not None
    assert entry.reason == f"job {second}, which it depends on, was cancelled"
    late = store.submit(CONTEXT, [JobRequest(b"5", after=(first,))], 9.0)[0]
    assert late.state == "cancelled"


def test_a_job_ends_once_though_somebody_cancels_it_meanwhile(store: QueueStore) -> None:
    """Else who waits for it and for another one would start before that has ended."""
    first, second = submit(store, JobRequest(b"1", gpus=99), JobRequest(b"2"))
    (third,) = submit(store, JobRequest(b"3", after_any=(first, second)))
    store.cancel([first], 2.0)
    store.record([], [AttemptEnd(first, 0, "failed", 3.0, reason="there are no 99 GPUs")])
    assert states(store)[first] == "cancelled"
    assert third not in [one.id for one in store.ready(9.0, 9)]
    run(store, second, "failed", 1)
    assert third in [one.id for one in store.ready(9.0, 9)]


def test_one_that_is_not_there_can_not_be_needed_and_nothing_is_added(store: QueueStore) -> None:
    with pytest.raises(UsageError, match="--after names job 99"):
        submit(store, JobRequest(b"1"), JobRequest(b"2", after=(99,)))
    assert store.entries() == []


def test_a_key_is_submitted_once(store: QueueStore) -> None:
    (job,) = submit(store, JobRequest(b"1", key="k"))
    again = store.submit(CONTEXT, [JobRequest(b"other", key="k"), JobRequest(b"2", key="l")], 2.0)
    assert again == [
        Submitted(job, new=False, state="queued"), Submitted(job + 1, new=True, state="queued")
    ]  # fmt: skip
    run(store, job, "succeeded")
    assert store.submit(CONTEXT, [JobRequest(b"1", key="k")], 3.0)[0].state == "succeeded"


def test_hold_release_cancel_and_retry(store: QueueStore) -> None:
    a, b, c = submit(store, JobRequest(b"1"), JobRequest(b"2", held=True), JobRequest(b"3"))
    assert store.hold([a, b, 99], held=True) == [a]
    assert store.ready(9.0, 9)[0].id == c
    assert store.hold([a, b], held=False) == [a, b]
    assert [one.id for one in store.cancel([a, 99], 5.0)] == [a]
    store.start([Attempt(b, 1, "l", ("0",), 2.0)])
    assert [one.id for one in store.cancel([a, b], 6.0)] == [b]
    assert store.to_be_stopped() == [(b, "cancelled")]
    assert store.retry([a, b, c]) == [a]
    assert states(store) == {a: "queued", b: "running", c: "queued"}


def test_an_attempt_that_never_began_is_no_attempt(store: QueueStore) -> None:
    (job,) = submit(store, JobRequest(b"1"))
    store.start([Attempt(job, 1, "l", ("0",), 2.0, boot="b")])
    assert [(one.job, one.number, one.boot) for one, _ in store.running()] == [(job, 1, "b")]
    store.unstart([job])
    entry = store.entry(job)
    assert entry is not None
    assert (entry.state, entry.attempt, store.running()) == ("queued", 0, [])


def test_a_context_is_kept_once(store: QueueStore) -> None:
    submit(store, JobRequest(b"1"))
    submit(store, JobRequest(b"2"))
    store.submit(CONTEXT._replace(umask=0), [JobRequest(b"3")], 1.0)
    assert [one.context for one in store.entries()] == [1, 1, 2]


@given(st.lists(st.sampled_from(["submit", "end", "cancel"]), max_size=12))
def test_ids_are_never_used_again(
    tmp_path_factory: pytest.TempPathFactory, happens: list[str]
) -> None:
    path = str(tmp_path_factory.mktemp("queue") / "q")
    seen: list[int] = []
    for what in happens:
        store = QueueStore(path)
        if what == "submit":
            seen += submit(store, JobRequest(b"x"))
        elif seen and what == "cancel":
            store.cancel(seen[-1:], 1.0)
        elif seen and states(store)[seen[-1]] == "queued":
            run(store, seen[-1], "succeeded")
        store.close()
    assert seen == sorted(set(seen))


def test_accepted_means_that_a_kill_loses_nothing(tmp_path: Path) -> None:
    """The id is printed after the commit; the printer is killed right then, many times."""
    program = """if True:
        import os, signal, sys
        from simple_gpu_scheduler.queue.store.jobs import QueueStore
        from simple_gpu_scheduler.queue.records import Context, JobRequest
        store = QueueStore(sys.argv[1])
        found = store.submit(Context(b"/", (), 0), [JobRequest(b"x")] * 3, 1.0)
        print(*[one.id for one in found], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = str(tmp_path / "q")
    accepted = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, check=False
        )
        accepted += [int(word) for word in done.stdout.split()]
    store = QueueStore(path)
    assert [one.id for one in store.entries()] == accepted == list(range(1, 16))
    store.close()


def test_a_later_version_s_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q"
    QueueStore(str(path)).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SgsError, match=r"is of a later version of sgs \(tables 99"):
        QueueStore(str(path))


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_file_is_told_of_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "q"
    path.write_bytes(content)
    with pytest.raises(SgsError, match=r"is damaged .* move it away"):
        QueueStore(str(path))
    assert path.read_bytes() == content


def test_the_file_is_its_user_s_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        QueueStore(str(tmp_path / "q")).close()
    finally:
        os.umask(old)
    assert (tmp_path / "q").stat().st_mode & 0o777 == 0o600
