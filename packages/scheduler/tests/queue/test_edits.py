"""Edits of waiting jobs: what changes, what stays, and what is refused as a whole."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.job import GPU_UNITS, share_units
from simple_gpu_scheduler.queue.edits import Edit, Needs, changed, cycle
from simple_gpu_scheduler.queue.records import (
    OPEN_STATES,
    Attempt,
    AttemptEnd,
    Context,
    JobRequest,
    QueuedJob,
)
from simple_gpu_scheduler.queue.store.edits import edit_jobs
from simple_gpu_scheduler.queue.store.jobs import QueueStore

CONTEXT = Context(b"/", (), 0o22)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[QueueStore]:
    one = QueueStore(str(tmp_path / "queue.sqlite3"))
    yield one
    one.close()


def submit(store: QueueStore, *requests: JobRequest) -> list[int]:
    return [one.id for one in store.submit(CONTEXT, requests, 1.0)]


def get(store: QueueStore, job: int) -> QueuedJob:
    entry = store.entry(job)
    assert entry is not None
    return entry


def end(store: QueueStore, job: int, state: str) -> None:
    number = get(store, job).attempt + 1
    store.start([Attempt(job, number, "l", ("0",), 2.0)])
    store.record([], [AttemptEnd(job, number, state, 3.0)])


def check_blockers(store: QueueStore) -> None:
    """What the queue counts is what it would find by looking."""
    for entry in store.entries(states=("queued", "held")):
        rows = store.file.all("SELECT needed FROM needs WHERE job = ?", (entry.id,))
        left = [job for (job,) in rows if get(store, job).state in OPEN_STATES]
        assert entry.blockers == len(left), entry


@given(st.dictionaries(st.integers(0, 6), st.sets(st.integers(0, 6)), min_size=7))
def test_a_cycle_is_found_if_there_is_one(needs: dict[int, set[int]]) -> None:
    found = cycle(0, lambda job: sorted(needs.get(job, ())))
    reached, ahead = set(), [0]
    while ahead:
        for job in needs.get(ahead.pop(), set()) - reached:
            reached.add(job)
            ahead.append(job)
    assert bool(found) == (0 in reached)
    if found:
        assert found[0] == found[-1] == 0
        assert all(b in needs[a] for a, b in itertools.pairwise(found))


def test_a_chain_may_be_long() -> None:
    assert cycle(0, lambda job: [job + 1] if job < 50_000 else []) == []


def test_what_is_not_named_stays(store: QueueStore) -> None:
    asked = JobRequest(
        b"x", 2, share_units(4), 512, priority=3, not_before_s=9.0, timeout_s=5.0, tries=2,
        name="n", group="g", key="k",
    )  # fmt: skip
    first, second = submit(store, JobRequest(b"1"), asked)
    before = get(store, second)
    edit_jobs(store, [second], Edit(priority=-7))
    assert get(store, second) == before._replace(priority=-7)
    edit_jobs(store, [second], Edit(needs=Needs((first,))))
    assert get(store, second) == before._replace(priority=-7, blockers=1)
    everything = Edit(1, 3, 0, False, 0.0, 0, "", 0.0, Needs())
    edit_jobs(store, [second], everything)
    assert get(store, second) == before._replace(
        priority=1, gpus=3, memory_mib=None, timeout_s=None, tries=0, name="", not_before_s=None
    )


@pytest.mark.parametrize(
    ("units", "memory_mib", "auto", "edit", "expected"),
    [
        (GPU_UNITS, None, False, Edit(memory_mib=100), (share_units(64), 100, False)),
        (share_units(64), 50, False, Edit(memory_mib=100), (share_units(64), 100, False)),
        (share_units(4), None, False, Edit(memory_mib=100), (share_units(4), 100, False)),
        (share_units(64), 50, False, Edit(memory_mib=0), (GPU_UNITS, None, False)),
        (share_units(64), 50, False, Edit(auto_memory=True), (GPU_UNITS, None, True)),
        (share_units(4), 50, False, Edit(memory_mib=0), (share_units(4), None, False)),
        (GPU_UNITS, None, True, Edit(memory_mib=0), (GPU_UNITS, None, False)),
        (GPU_UNITS, None, True, Edit(memory_mib=7), (share_units(64), 7, False)),
        (GPU_UNITS, None, True, Edit(priority=7), (GPU_UNITS, None, True)),
    ],
)
def test_memory(
    store: QueueStore, units: int, memory_mib: int | None, auto: bool, edit: Edit, expected: tuple
) -> None:
    (job,) = submit(store, JobRequest(b"x", 1, units, memory_mib, auto))
    entry = changed(get(store, job), edit)
    assert (entry.units, entry.memory_mib, entry.auto_memory) == expected


def test_needs_take_the_place_of_the_former(store: QueueStore) -> None:
    a, b, c = submit(store, JobRequest(b"a"), JobRequest(b"b"), JobRequest(b"c"))
    (d,) = submit(store, JobRequest(b"d", after=(a,)))
    edit_jobs(store, [d], Edit(needs=Needs((b,), (c,))))
    end(store, a, "failed")
    assert get(store, d).state == "queued"
    end(store, c, "failed")
    check_blockers(store)
    assert get(store, d).blockers == 1
    end(store, b, "succeeded")
    assert d in [one.id for one in store.ready(1.0, 9)]
    edit_jobs(store, [d], Edit(needs=Needs((b,), (a,))))  # all of them have ended
    assert get(store, d).blockers == 0


def test_jobs_that_would_wait_for_each_other_are_refused_as_a_whole(store: QueueStore) -> None:
    (a,) = submit(store, JobRequest(b"a"))
    (b,) = submit(store, JobRequest(b"b", after=(a,)))
    (c,) = submit(store, JobRequest(b"c", after_any=(b,)))
    before = store.entries()
    for jobs, needs, named in (
        ([a], Needs((c,)), f"{a} for {c}, {c} for {b}, {b} for {a}"),
        ([c, a], Needs((), (b,)), f"{a} for {b}, {b} for {a}"),
        ([a], Needs((a,)), f"{a} for {a}"),
    ):
        with pytest.raises(UsageError, match=f"for ever: {named}"):
            edit_jobs(store, jobs, Edit(priority=5, needs=needs))
        assert store.entries() == before
        check_blockers(store)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 5),
            st.sets(st.integers(1, 5), max_size=3),
            st.sets(st.integers(1, 5), max_size=3),
            st.sampled_from(["edit", "fail", "succeed", "retry", "cancel"]),
        ),
        max_size=12,
    )
)
def test_the_count_of_what_is_waited_for_is_right_whatever_is_done(
    steps: list[tuple[int, set[int], set[int], str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = QueueStore(f"{folder}/q")
        submit(store, *(JobRequest(b"x") for _ in range(5)))
        for job, after, after_any, what in steps:
            entry = get(store, job)
            if what == "edit" and entry.state == "queued":
                with contextlib.suppress(UsageError):
                    edit_jobs(store, [job], Edit(needs=Needs(tuple(after), tuple(after_any))))
            elif what in ("fail", "succeed") and entry.state == "queued" and not entry.blockers:
                end(store, job, "failed" if what == "fail" else "succeeded")
            elif what == "retry":
                store.retry([job, *after])
            elif what == "cancel":
                store.cancel([job], 1.0)
            check_blockers(store)
        while ready := store.ready(1.0, 1):  # and none is left waiting for ever
            end(store, ready[0].id, "succeeded")
        assert store.entries(states=OPEN_STATES) == []
        store.close()
