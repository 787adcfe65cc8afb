"""A full disk, in the middle of anything: nothing is lost, and all goes on once there is room."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.journal import read_entries
from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import JobRequest
from small_disk import Disk, needs_mount
from waiting import wait_until
from witnesses import Witnesses

pytestmark = needs_mount


def test_what_has_no_room_is_not_accepted_and_that_is_said(disk: Disk) -> None:
    disk.submit(b"true")
    disk.fill()
    big = JobRequest(b"echo " + b"x" * 100_000)
    with pytest.raises(SgsError, match="the disk is full; nothing was accepted"):
        disk.submit(*[big] * 10)
    count = len(disk.store.entries())
    disk.free()
    assert len(disk.submit(big)) == 1
    assert len(disk.store.entries()) == count + 1


def test_no_end_is_lost_while_there_is_no_room(disk: Disk, witnesses: Witnesses) -> None:
    server = disk.start()
    jobs = disk.submit(*(witnesses.command(-1, status) for status in (0, 3, 7, 143)))
    jobs += disk.submit(*(witnesses.command(0, status) for status in (0, 5)))
    wait_until(lambda: len(witnesses.begun()) == 4, "four run")
    disk.fill()
    witnesses.go()
    wait_until(lambda: b"disk is full" in (disk.path / "server.log").read_bytes(), "it is full")
    assert server.poll() is None
    assert len(disk.launchers()) == 1
    disk.free()
    call(str(disk.folder))
    disk.wait(*jobs)
    verdict = witnesses.verdict(disk.database, jobs)
    assert (verdict.complaints(), verdict.unknown) == ({}, [])
    assert server.poll() is None


@pytest.mark.parametrize("victims", [("server",), ("launcher",), ("launcher", "server")])
def test_whoever_is_killed_meanwhile_nothing_is_started_twice(
    disk: Disk, witnesses: Witnesses, victims: tuple[str, ...]
) -> None:
    server = disk.start()
    disk.wait(*disk.submit(witnesses.command(0)))
    (launcher,) = disk.launchers()
    os.kill(launcher, signal.SIGSTOP)  # the server writes its starts while there is room
    jobs = disk.submit(*(witnesses.command(30, status) for status in (0, 3, 7, 143)))
    wait_until(lambda: len(disk.store.running()) == 4, "four were ordered")
    disk.fill()
    os.kill(launcher, signal.SIGCONT)
    wait_until(lambda: not disk.leases(), "they can't be started: their GPUs are given back")
    if "launcher" in victims:
        os.kill(launcher, signal.SIGKILL)
    if "server" in victims:
        server.kill()
        server.wait()
        wait_until(lambda: not disk.launchers(), "the launcher has nothing to do")
        early = disk.start()
        wait_until(lambda: early.poll() is not None or call(str(disk.folder)), "it has begun")
    disk.free()
    if "server" in victims:
        disk.start()
    disk.wait(*jobs)
    verdict = witnesses.verdict(disk.database, jobs)
    assert (verdict.complaints(), verdict.unknown) == ({}, [])


def test_half_a_promise_is_none(disk: Disk, witnesses: Witnesses) -> None:
    """There is room for a part of a line: what is written later must be readable all the same."""
    server = disk.start()
    disk.wait(*disk.submit(witnesses.command(0)))
    (launcher,) = disk.launchers()
    os.kill(launcher, signal.SIGSTOP)
    jobs = disk.submit(*(witnesses.command(-1, status) for status in (0, 3, 7, 143)))
    wait_until(lambda: len(disk.store.running()) == 4, "four were ordered")
    disk.fill()
    (journal,) = disk.folder.glob("*.journal")
    os.truncate(journal, journal.stat().st_size - 5)
    os.kill(launcher, signal.SIGCONT)
    wait_until(lambda: not disk.leases(), "they can't be started: their GPUs are given back")
    disk.free()
    wait_until(lambda: len(witnesses.begun()) == 5, "they run")
    entries, _ = read_entries(journal.read_bytes())
    assert {entry.job for entry in entries if entry.kind == "begins"} == {1, *jobs}
    server.kill()
    server.wait()
    disk.start()
    witnesses.go()
    disk.wait(*jobs)
    verdict = witnesses.verdict(disk.database, [1, *jobs])
    assert (verdict.complaints(), verdict.unknown) == ({}, [])


def test_a_server_that_can_t_write_its_log_goes_on(disk: Disk, witnesses: Witnesses) -> None:
    disk.server_log = Path("/dev/full")
    server = disk.start()
    late = JobRequest(b"sleep 60", timeout_s=0.1)  # why it was ended is to be in the log
    first, second = disk.wait(*disk.submit(late, witnesses.command(1, 3)))
    assert (first.reason, second.exit_code) == ("timed out", 3)
    assert server.poll() is None
