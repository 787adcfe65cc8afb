"""Processes that left their job's session, parent or environment: they are found all the same."""

from __future__ import annotations

import os
import signal
import time

import pytest

from process_state import is_alive
from queues import Queue
from simple_gpu_scheduler.leases.store import live_leases
from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import JobRequest
from waiting import wait_until

#: One whose parent is gone and whose session is its own; one without its environment; one with
#: neither, whose parent lives.
STRAYS = {
    "far": b"(setsid sh -c 'sh -c \"echo \\$\\$ > far; exec sleep 60\" &' &); ",
    "bare": b"env -i /bin/sh -c 'echo $$ > bare; exec sleep 60' & ",
    "apart": b"env -i setsid /bin/sh -c 'echo $$ > apart; exec sleep 60' & ",
}


def strays(queue: Queue) -> list[int]:
    """Those that live."""
    found = []
    for name in STRAYS:
        path = queue.path / name
        wait_until(lambda p=path: p.exists() and p.read_text().strip(), f"{name} is written")
        found.append(int(path.read_text()))
    return [pid for pid in found if is_alive(pid)]


@pytest.mark.parametrize("killed", [False, True], ids=["", "server and launcher were killed"])
@pytest.mark.parametrize("end", ["cancel", "timeout", "kill leftovers"])
def test_all_of_a_job_ends(queue: Queue, end: str, killed: bool) -> None:
    server = queue.start()
    rest = b"until [ -e go ]; do sleep 0.02; done" if end == "kill leftovers" else b"sleep 60"
    asked = JobRequest(
        b"".join(STRAYS.values()) + rest,
        timeout_s=3.0 if end == "timeout" else None,
        kill_leftovers=end == "kill leftovers",
    )
    (job,) = queue.submit(asked)
    wait_until(lambda: len(strays(queue)) == 3, "they run")
    wait_until(lambda: queue.store.running()[0][0].pid, "that is written down")
    if killed:
        server.kill()
        server.wait()
        for pid in queue.launchers():
            os.kill(pid, signal.SIGKILL)
        queue.start()
        queue.wait(*queue.submit(b"true"))  # it has seen that the job runs on
    if end == "cancel":
        queue.store.cancel([job], time.time())
        call(str(queue.folder))
    (queue.path / "go").touch()
    (entry,) = queue.wait(job)
    if end == "cancel":
        assert entry.state == "cancelled"
    else:
        known = "succeeded" if end == "kill leftovers" else "failed"
        assert entry.state == ("lost" if killed else known)
    left = strays(queue)
    if end == "kill leftovers":  # whose session, environment and parent are gone, nobody knows it
        apart = int((queue.path / "apart").read_text())
        assert left == [apart]
        os.kill(apart, signal.SIGKILL)
    else:
        assert left == []


def test_what_a_job_left_behind_keeps_no_gpu_while_there_is_no_server(queue: Queue) -> None:
    """The launcher ends the lease with the job, as a server would."""
    server = queue.start()
    stray = b"(sleep 600 < /dev/null > /dev/null 2>&1 & echo $! > stray); "
    queue.submit(stray + b"until [ -e go ]; do sleep 0.02; done")
    wait_until(lambda: (queue.path / "stray").exists(), "it runs")
    wait_until(lambda: queue.store.running()[0][0].pid, "that is written down")
    server.kill()
    server.wait()
    leases = queue.env["SGS_LEASE_DIR"]
    assert len(live_leases(leases)) == 1
    (queue.path / "go").touch()
    wait_until(lambda: not live_leases(leases), "the lease ends")
    os.kill(int((queue.path / "stray").read_text()), signal.SIGKILL)
