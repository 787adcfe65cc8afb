"""Servers and launchers that were stopped (SIGSTOP), as a debugger, a freezer or swap may do."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time

import pytest

from queues import SGS, Queue, Shell
from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import JobRequest
from waiting import wait_until
from witnesses import Witnesses


def test_whoever_talks_to_a_server_that_is_asleep_goes_on(shell: Shell) -> None:
    server = shell.server()
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    try:
        for number in range(1, 16):  # more than the words for which there is room
            assert shell.sgs("submit", "--", "exit 3") == f"{number}\n"
        text = shell.sgs("server", "stop", status=1)
        assert f"doesn't end: it may be stopped (kill -CONT {server})" in text
    finally:
        os.kill(server, signal.SIGCONT)
    shell.sgs("server", "start")
    shell.sgs("wait", "1-15", status=1)


def test_what_a_launcher_that_is_asleep_was_told_is_started_once(
    queue: Queue, witnesses: Witnesses
) -> None:
    """It has orders that it hasn't read; the next server must not take it for dead."""
    server = queue.start()
    queue.wait(*queue.submit(witnesses.command(0)))
    (launcher,) = queue.launchers()
    os.kill(launcher, signal.SIGSTOP)
    jobs = queue.submit(*(witnesses.command(10, status) for status in (0, 3, 7)))
    wait_until(lambda: len(queue.store.running()) == 3, "they are ordered")
    server.kill()
    server.wait()
    server = queue.start()
    (other,) = queue.submit(witnesses.command(0, 5))
    queue.wait(other)
    assert [queue.entry(job).state for job in jobs] == ["running"] * 3
    os.kill(launcher, signal.SIGCONT)
    queue.wait(*jobs)
    verdict = witnesses.verdict(queue.database, [*jobs, other])
    assert (verdict.complaints(), verdict.unknown) == ({}, [])
    assert server.poll() is None
    wait_until(lambda: launcher not in queue.launchers(), "it has done its last job")


def test_half_an_order_is_none(queue: Queue, witnesses: Witnesses) -> None:
    """A launcher that is asleep has no room for a large environment.

    What is ordered of another one then is nothing that it may decide about when it wakes up.
    """
    queue.start()
    queue.wait(*queue.submit(witnesses.command(0)))
    (launcher,) = queue.launchers()
    os.kill(launcher, signal.SIGSTOP)
    environ = tuple((b"V%d" % n, b"x" * 100_000) for n in range(12))
    large = queue.context._replace(environ=(*queue.context.environ, *environ))
    asked = [JobRequest(witnesses.command(2000, status)) for status in (0, 3)]
    jobs = [one.id for one in queue.store.submit(large, asked, time.time())]
    call(str(queue.folder))
    (other,) = queue.submit(witnesses.command(0, 5))
    queue.wait(other)
    os.kill(launcher, signal.SIGCONT)
    queue.wait(*jobs)
    verdict = witnesses.verdict(queue.database, [*jobs, other])
    assert (verdict.complaints(), verdict.unknown) == ({}, [])


@pytest.mark.parametrize("victim", ["launcher", "both"])
def test_one_that_is_killed_in_its_sleep_has_started_nothing(
    queue: Queue, witnesses: Witnesses, victim: str
) -> None:
    server = queue.start()
    queue.wait(*queue.submit(witnesses.command(0)))
    (launcher,) = queue.launchers()
    os.kill(launcher, signal.SIGSTOP)
    jobs = queue.submit(*(witnesses.command(10, status) for status in (0, 3, 7)))
    wait_until(lambda: len(queue.store.running()) == 3, "they are ordered")
    if victim == "both":
        server.kill()
        server.wait()
        queue.start()
    os.kill(launcher, signal.SIGKILL)
    queue.wait(*jobs)
    verdict = witnesses.verdict(queue.database, jobs)
    assert (verdict.complaints(), verdict.unknown) == ({}, [])


def test_whoever_submits_waits_for_nobody_who_sleeps_while_he_allocates(
    queue: Queue, witnesses: Witnesses
) -> None:
    """The server writes starts and ends at once with its leases; it must not wait for those."""
    queue.start()
    queue.wait(*queue.submit(witnesses.command(0)))
    leases = os.open(queue.env["SGS_LEASE_DIR"], os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(leases, fcntl.LOCK_EX)
    (job,) = queue.submit(witnesses.command(0, 3))
    busy = queue.server_log
    wait_until(lambda: b"going on without" in busy.read_bytes(), "the server goes on without")
    assert queue.wait(job)[0].exit_code == 3
    done = subprocess.run(
        [SGS, "submit", "--", "true"], env=queue.env, capture_output=True, timeout=25, check=True
    )
    assert done.stdout == b"3\n"
    os.close(leases)
