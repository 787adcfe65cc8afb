"""Each step of the protocol at which somebody may die: no job is lost, started twice or wrong.

The hook in `failpoints` kills the process that first comes to the step. An end that nobody knows
is honest, and allowed only where it says so.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from queues import Queue, Shell
from simple_gpu_scheduler.queue.records import JobRequest
from waiting import wait_until
from witnesses import Witnesses

SERVER = ["locked", "recovered", "launching", "leased", "written", "ordered", "heard", "notifying"]

#: With the number of jobs that may be lost when the launcher alone dies there. It has promised to
#: begin one, and nobody can tell whether it has; one that runs already is found by its mark.
LAUNCHER = {
    "locked journal": 0, "served": 0, "told": 0, "begins": 1, "spawned": 0, "runs": 0, "seen": 0,
    "exits": 0, "reaped": 0, "ended": 0,
}  # fmt: skip

BEFORE_ANYTHING_BEGINS = ("locked journal", "served", "told")
GPUS = 4


def jobs(witnesses: Witnesses) -> list[JobRequest]:
    """Some that fail, some that run again, some that last, and who is to be told."""
    told = f"echo $SGS_JOB $SGS_EXIT_CODE >> '{witnesses.folder}/told'".encode()
    first = [JobRequest(witnesses.command(300, status), tries=2) for status in (3, 0, 143, 7)]
    rest = [JobRequest(one, notify=told) for one in witnesses.commands(6, random.Random(1))]
    return [*first, *rest]


def die_at(queue: Queue, step: str) -> Path:
    """The first one that comes to the step dies; returns the file that says so."""
    died = queue.path / "died"
    queue.env["SGS_DIE_AT"] = f"{step}:{died}"
    return died


def check(queue: Queue, witnesses: Witnesses, submitted: list[int], most_unknown: int) -> None:
    queue.wait(*submitted)
    verdict = witnesses.verdict(queue.database, submitted)
    assert verdict.complaints() == {}
    assert len(verdict.unknown) <= most_unknown
    states = {one.id: one for one in queue.store.entries()}
    wait_until(lambda: not queue.store.to_notify(), "all are to be told")

    def told() -> list[list[str]]:
        return [line.split() for line in (witnesses.folder / "told").read_text().splitlines()]

    wait_until(lambda: {int(words[0]) for words in told()} == set(submitted[4:]), "all are told")
    for job, *code in told():
        expected = states[int(job)].exit_code, states[int(job)].signal
        if expected != (None, None):
            assert code == [str(expected[0] if expected[1] is None else 128 + expected[1])]


@pytest.mark.parametrize("step", SERVER)
def test_the_server_dies(queue: Queue, witnesses: Witnesses, step: str) -> None:
    submitted = queue.submit(*jobs(witnesses))
    died = die_at(queue, step)
    server = queue.start()
    assert server.wait(60) == -signal.SIGKILL
    assert died.exists()
    queue.start()
    check(queue, witnesses, submitted, 0)


@pytest.mark.parametrize("step", LAUNCHER)
def test_a_launcher_dies(queue: Queue, witnesses: Witnesses, step: str) -> None:
    submitted = queue.submit(*jobs(witnesses))
    died = die_at(queue, step)
    server = queue.start()
    check(queue, witnesses, submitted, LAUNCHER[step])
    assert died.exists()
    assert server.poll() is None


@pytest.mark.parametrize("step", LAUNCHER)
def test_both_die(queue: Queue, witnesses: Witnesses, step: str) -> None:
    """Whose parents are both gone, nobody sees how they end: those that run, and no others."""
    submitted = queue.submit(*jobs(witnesses))
    died = die_at(queue, step)
    server = queue.start()
    wait_until(died.exists, "the launcher has died")
    server.kill()
    server.wait()
    queue.start()
    check(queue, witnesses, submitted, 0 if step in BEFORE_ANYTHING_BEGINS else GPUS)


def test_journals_are_forgotten_only_when_all_is_written(
    queue: Queue, witnesses: Witnesses
) -> None:
    first = queue.start()
    submitted = queue.submit(*jobs(witnesses))
    wait_until(lambda: len(witnesses.begun()) >= GPUS, "some run")
    first.kill()
    first.wait()
    wait_until(lambda: not queue.launchers(), "the launcher has done its last jobs")
    died = die_at(queue, "forgetting")
    assert queue.start().wait(60) == -signal.SIGKILL
    assert died.exists()
    queue.start()
    check(queue, witnesses, submitted, 0)
    wait_until(lambda: len(list(queue.folder.glob("*.journal"))) <= 1, "none is left behind")


def test_an_orphan_whose_launcher_s_journal_is_gone_is_not_started_again(
    queue: Queue, witnesses: Witnesses
) -> None:
    queue.start()
    (job,) = queue.submit(witnesses.command(-1, 3))
    wait_until(lambda: witnesses.begun(), "it runs")
    wait_until(lambda: queue.store.running()[0][0].pid, "that is written down")
    (launcher,) = queue.launchers()
    os.kill(launcher, signal.SIGKILL)
    (other,) = queue.submit(witnesses.command(1, 0))
    queue.wait(other)
    assert queue.server is not None
    queue.server.kill()
    queue.server.wait()
    wait_until(lambda: not queue.launchers(), "the other launcher has nothing to do")
    for journal in queue.folder.glob("*.journal"):  # an earlier version removed them
        journal.unlink()
    queue.start()
    (third,) = queue.submit(witnesses.command(1, 0))
    queue.wait(third)
    witnesses.go()
    queue.wait(job)
    verdict = witnesses.verdict(queue.database, [job, other, third])
    assert verdict.complaints() == {}
    assert verdict.unknown == [job]


@pytest.mark.parametrize("count", [1, 1000])
@pytest.mark.parametrize("step", ["accepting", "accepted"])
def test_a_submitter_dies(shell: Shell, step: str, count: int) -> None:
    """All or none; and whoever submits next, all of it is there and runs."""
    shell.env["SGS_DIE_AT"] = f"{step}:{shell.path}/died"
    lines = "true\n" * count
    assert shell.sgs("submit", lines=lines, status=-signal.SIGKILL) == ""
    accepted = count if step == "accepted" else 0
    assert len(shell.objects("--all")) == accepted
    assert shell.sgs("submit", "--", "exit 3") == f"{accepted + 1}\n"
