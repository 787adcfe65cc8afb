"""The machine goes down: everything dies at once, and the last lines of journals may be torn."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queues import Queue
from simple_gpu_scheduler.processes import tree as process_tree
from simple_gpu_scheduler.queue.journal import JournalEntry, read_entries
from simple_gpu_scheduler.queue.records import Attempt, JobRequest
from simple_gpu_scheduler.queue.recovery import Evidence, verdict
from simple_gpu_scheduler.queue.server.processes import queue_mark
from waiting import wait_until
from witnesses import Witnesses

LINES = [
    ["begins", 1, 1], ["runs", 1, 1, 41, 99, 99, 1.5], ["begins", 2, 1], ["exits", 1, 1, 5, 1.75],
    ["runs", 2, 1, 42, 100, 100, 1.5], ["ended", 1, 1, 5, 1.75, 0.25, 0.0, 3], ["begins", 3, 1],
    ["broken", 3, 1, "no \\n folder", 2.0], ["exits", 2, 1, -9, 3.0], ["begins", 4, 2],
]  # fmt: skip
JOURNAL = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)
ATTEMPTS = [Attempt(job, 1 + (job == 4), "dead", ("0",), 1.0, boot="b") for job in (1, 2, 3, 4)]


def facts(data: bytes, boot: str) -> Evidence:
    notes: dict[tuple[int, int], dict[str, JournalEntry]] = {}
    for note in read_entries(data)[0]:
        notes.setdefault((note.job, note.attempt), {})[note.kind] = note
    empty: frozenset[str] = frozenset()
    return Evidence(boot, empty, empty, notes, lambda _: False, lambda _: None)


@pytest.mark.parametrize("boot", ["b", "another"])
def test_a_journal_that_ends_anywhere(boot: str) -> None:
    """What may have run is never started again, and an end that is told is the true one."""
    ends = {1: (5, None), 2: (None, 9)}
    for size in range(len(JOURNAL) + 1):
        for attempt in ATTEMPTS:
            found = verdict(attempt, facts(JOURNAL[:size], boot))
            begins = json.dumps(["begins", attempt.job, attempt.number]).encode() + b"\n"
            may_have_run = boot != attempt.boot or begins in JOURNAL[:size]
            assert (found.action == "unstart") == (not may_have_run)
            if found.action == "ended":
                assert found.entry is not None
                assert (found.entry.exit_code, found.entry.signal) == ends[attempt.job]


@given(st.integers(0, len(JOURNAL)), st.integers(0, len(JOURNAL)), st.binary(max_size=40))
def test_a_journal_with_anything_in_it(first: int, last: int, odd: bytes) -> None:
    """Blocks that never came to the disk, or others' blocks: nothing is made up."""
    data = JOURNAL[: min(first, last)] + odd + JOURNAL[max(first, last) :]
    for attempt in ATTEMPTS:
        found = verdict(attempt, facts(data, "another"))
        assert found.action in ("lost", "ended", "broken")


ODD = [
    b"[" * 100_000,
    b'["runs", 1, 1, 1e999, 1, 1, 1]',
    b'["ended", 1, 1, 1e999, 1, 1, 1, NaN]',
    b"\0" * 9,
]


@pytest.mark.parametrize("odd", ODD)
def test_no_line_is_too_odd(odd: bytes) -> None:
    notes, _ = read_entries(odd + b"\n" + JOURNAL)
    assert [one.kind for one in notes] == [line[0] for line in LINES]


def go_down(queue: Queue) -> None:
    """Kill all there is, and have it be another start of the machine."""
    mark = queue_mark(str(queue.folder)).encode()
    assert queue.server is not None
    queue.server.kill()
    queue.server.wait()
    for pid in queue.launchers():
        os.kill(pid, signal.SIGKILL)
    while found := process_tree.marked(mark):
        for pid in [pid for pids in found.values() for pid in pids]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    queue.env["SGS_BOOT_ID"] = queue.env.get("SGS_BOOT_ID", "") + "another "


def test_after_each_restart_all_that_waits_runs_and_by_choice_what_ran(
    queue: Queue, witnesses: Witnesses
) -> None:
    queue.start()
    again = JobRequest(witnesses.command(-1, 3), gpus=2, requeue=True)
    waits = JobRequest(witnesses.command(1, 7), gpus=4)
    once, more, *waiting = queue.submit(
        JobRequest(witnesses.command(-1, 0), gpus=2), again, waits, waits
    )
    rng = random.Random(2)
    for number in (1, 2, 3):
        wait_until(lambda n=number: f"{more}.{n}" in witnesses.begun(), "it runs")
        go_down(queue)
        for journal in queue.folder.glob("*.journal"):
            os.truncate(journal, rng.randrange(journal.stat().st_size + 1))
        if number == 3:
            witnesses.go()
        queue.start()
    entries = queue.wait(once, more, *waiting)
    assert [one.state for one in entries] == ["lost", "failed", *["failed"] * 2]
    assert (entries[0].reason, entries[1].attempt) == ("the machine was restarted while it ran", 4)
    verdict = witnesses.verdict(queue.database, [once, more, *waiting])
    assert (verdict.complaints(), verdict.unknown) == ({}, [once])
