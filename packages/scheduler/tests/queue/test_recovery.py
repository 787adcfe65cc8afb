"""What became of an attempt while nobody looked, whoever was killed at which step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.queue.journal import JournalEntry, read_entries
from simple_gpu_scheduler.queue.records import Attempt
from simple_gpu_scheduler.queue.recovery import Evidence, verdict

ATTEMPT = Attempt(7, 2, "launcher", ("0",), 1.0, boot="now")
BEGINS = JournalEntry("begins", 7, 2)
RUNS = JournalEntry("runs", 7, 2, 41, 99, 1.5)
EXITS = JournalEntry("exits", 7, 2, at_s=2.9, exit_code=5)
ENDED = JournalEntry("ended", 7, 2, at_s=3.0, exit_code=5)
BROKEN = JournalEntry("broken", 7, 2, reason="no such folder")


def facts(
    *notes: JournalEntry,
    alive: bool = False,
    silent: bool = False,
    runs: bool = False,
    marked: tuple[int, int] | None = None,
) -> Evidence:
    by_kind = {one.kind: one for one in notes}
    return Evidence(
        "now",
        frozenset({"launcher"} if alive else ()),
        frozenset({"launcher"} if silent else ()),
        {(7, 2): by_kind} if notes else {},
        lambda _: runs,
        lambda _: marked,
    )


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (facts(), "unstart"),
        (facts(alive=True), "unstart"),
        (facts(silent=True), "wait"),
        (facts(BEGINS, silent=True), "wait"),
        (facts(BEGINS, RUNS, EXITS, silent=True), "ended"),
        (facts(BEGINS, alive=True), "wait"),
        (facts(BEGINS, RUNS, alive=True), "wait"),
        (facts(BEGINS, RUNS, ENDED, alive=True), "ended"),
        (facts(BEGINS, RUNS, EXITS, ENDED), "ended"),
        (facts(BEGINS, RUNS, EXITS), "ended"),
        (facts(BEGINS, BROKEN), "broken"),
        (facts(BEGINS, RUNS, runs=True), "adopt"),
        (facts(BEGINS, RUNS), "lost"),
        (facts(BEGINS, marked=(55, 98)), "adopt"),
        (facts(BEGINS), "lost"),
    ],
)
def test_each_step_of_a_start(seen: Evidence, expected: str) -> None:
    assert verdict(ATTEMPT, seen).action == expected


@pytest.mark.parametrize(
    ("seen", "pid", "expected"),
    [
        (facts(), None, "lost"),
        (facts(BEGINS), None, "lost"),
        (facts(BEGINS, RUNS, runs=True), 41, "lost"),
        (facts(), 41, "lost"),
        (facts(BEGINS, RUNS, ENDED), 41, "ended"),
    ],
)
def test_after_a_restart_of_the_machine_nothing_runs(
    seen: Evidence, pid: int | None, expected: str
) -> None:
    assert verdict(ATTEMPT._replace(boot="before", pid=pid), seen).action == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(facts(runs=True), "adopt"), (facts(marked=(55, 98)), "adopt"), (facts(), "lost")],
)
def test_one_whose_process_is_known_has_begun_though_no_journal_says_so(
    seen: Evidence, expected: str
) -> None:
    found = verdict(ATTEMPT._replace(pid=41, start_ticks=99), seen)
    assert found.action == expected
    assert found.entry is not None
    assert (found.entry.pid, found.entry.start_ticks) == (41, 99)


def test_an_attempt_is_not_over_while_something_of_it_runs() -> None:
    found = verdict(ATTEMPT, facts(BEGINS, RUNS, marked=(55, 98)))
    assert (found.action, found.entry) == ("adopt", RUNS)


def test_who_is_adopted_is_known_by_its_start_as_well() -> None:
    found = verdict(ATTEMPT, facts(BEGINS, marked=(55, 98)))
    assert found.entry is not None
    assert (found.entry.pid, found.entry.start_ticks) == (55, 98)


@given(st.sets(st.sampled_from([BEGINS, RUNS, ENDED, BROKEN])), st.booleans(), st.booleans())
def test_what_may_have_begun_is_never_started_again(
    notes: set[JournalEntry], alive: bool, runs: bool
) -> None:
    found = verdict(ATTEMPT, facts(*notes, alive=alive, runs=runs))
    assert (found.action == "unstart") == (not notes or notes == {RUNS})
    if ENDED in notes:
        assert found.entry == ENDED


def test_a_journal_is_read_line_by_line_and_torn_lines_are_passed_over() -> None:
    data = (
        b'["begins", 7, 2]\n["runs", 7, 2, 41, 99, 101, 1.5]\n{torn\n'
        b'["exits", 7, 2, -9, 2.9]\n["ended", 7, 2, -9, 3.0, 0.5, 0.25, 12]\n'
        b'["broken", 8, 1, "no", 4.5]\n["what", 1]\n["ended", 9'
    )
    notes, rest = read_entries(data)
    assert [one.kind for one in notes] == ["begins", "runs", "exits", "ended", "broken"]
    assert (notes[1].pid, notes[1].start_ticks, notes[1].last_ticks) == (41, 99, 101)
    assert (notes[2].exit_code, notes[2].signal, notes[2].at_s) == (None, 9, 2.9)
    assert (notes[3].exit_code, notes[3].signal, notes[3].max_rss_mib) == (None, 9, 12)
    assert (notes[4].reason, notes[4].at_s, rest) == ("no", 4.5, b'["ended", 9')


@given(st.binary(max_size=200))
def test_no_journal_is_too_odd(data: bytes) -> None:
    read_entries(data)
