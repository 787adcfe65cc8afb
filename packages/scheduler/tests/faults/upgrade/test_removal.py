"""Servers and pipes of this version go on when the package is removed from under them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import OPEN_STATES, Context, JobRequest, QueuedJob
from simple_gpu_scheduler.queue.store.jobs import QueueStore

from .driver import with_driver
from .installation import BOUND_S, Installation, Place, wait_until
from .test_upgrade_pipe import GATE, LATER, LOUD, rows
from .test_upgrade_server import FAILS_ONCE, server


@pytest.fixture
def new_place(tmp_path: Path) -> Iterator[Place]:
    """A user who has this version."""
    place = Place(tmp_path, Installation(tmp_path / "new"))
    place.installed.install_new()
    yield place
    if not place.installed.package.exists():
        place.installed.install_new()
    place.leave()


class Client:
    """Submits and reads jobs without the removed package."""

    def __init__(self, place: Place) -> None:
        (path,) = place.state.glob("queue/*/queue.sqlite3")
        self._folder = str(path.parent)
        self._store = QueueStore(str(path))
        environ = tuple((os.fsencode(k), os.fsencode(v)) for k, v in place.env.items())
        self._context = Context(bytes(place.folder), environ, 0o022)

    def submit(self, *requests: JobRequest) -> list[int]:
        """Submit jobs and tell the server."""
        submitted = self._store.submit(self._context, requests, time.time())
        assert call(self._folder), "the server listens"
        return [job.id for job in submitted]

    def cancel(self, job: int) -> None:
        """Cancel a job and tell the server."""
        self._store.cancel([job], time.time())
        assert call(self._folder), "the server listens"

    def entry(self, job: int) -> QueuedJob:
        """The job as it is now."""
        entry = self._store.entry(job)
        assert entry is not None
        return entry

    def wait(self, *jobs: int) -> list[str]:
        """The states of jobs once all have ended."""
        wait_until(lambda: all(self.entry(job).state not in OPEN_STATES for job in jobs), "ends")
        return [self.entry(job).state for job in jobs]

    def close(self) -> None:
        """Close the queue's file."""
        self._store.close()


@pytest.fixture
def client(new_place: Place, tmp_path: Path) -> Iterator[Client]:
    """A client of a server that runs on two GPUs with a driver."""
    with_driver(new_place, tmp_path)
    new_place.sgs("server", "start")
    client = Client(new_place)
    yield client
    client.close()


def test_a_server_goes_on_without_its_package(new_place: Place, client: Client) -> None:
    pid = server(new_place)
    lease = new_place.start("sgs", "lease", "--on", "0", "--", "sh", "-c", "echo up > leased; cat")
    wait_until((new_place.folder / "leased").exists, "GPU 0 is leased")
    (gate,) = client.submit(JobRequest(f"{GATE} >> ran".encode()))
    (before,) = client.submit(JobRequest(b"echo before >> ran", after=(gate,)))
    wait_until((new_place.folder / "up").exists, "the first job is up")
    new_place.installed.remove()

    both, retried, late, notified = client.submit(
        JobRequest(b"echo both >> ran", gpus=2),
        JobRequest(FAILS_ONCE.encode(), tries=2),
        JobRequest(b"exec sleep 1000", timeout_s=0.2, memory_mib=1000, auto_memory=True),
        JobRequest(b"true", notify=b'echo told >> "$PLACE/ran"'),
    )
    (new_place.folder / "go").touch()
    assert client.wait(gate, before) == ["succeeded"] * 2
    assert client.entry(both).state == "queued", "it waits for the lease"
    said, _ = lease.communicate(timeout=BOUND_S)
    assert "Traceback" not in said, said
    assert client.wait(both, retried, notified) == ["succeeded"] * 3
    assert client.wait(late) == ["failed"]
    never, stopped = client.submit(
        JobRequest(b"echo never >> ran", held=True),
        JobRequest(b"echo up > up2; exec sleep 1000"),
    )
    wait_until((new_place.folder / "up2").exists, "the job to cancel is up")
    client.cancel(stopped)
    client.cancel(never)
    assert client.wait(stopped, never) == ["cancelled"] * 2
    wait_until(lambda: "told" in new_place.ran(), "the notification")
    assert new_place.ran() == ["before", "both", "gate", "retried", "told"]

    new_place.installed.install_new()
    assert server(new_place) == pid, "it is the same server"
    assert "Traceback" not in new_place.server_log()
    assert "error" not in new_place.server_log()


def test_a_server_without_a_launcher_waits_for_its_package(
    new_place: Place, client: Client
) -> None:
    pid = server(new_place)
    new_place.installed.remove()
    (job,) = client.submit(JobRequest(b"echo ran >> ran"))
    wait_until(lambda: "doesn't come up" in new_place.server_log(), "it says so")
    assert client.entry(job).state == "queued"
    new_place.installed.install_new()
    assert client.wait(job) == ["succeeded"]
    assert server(new_place) == pid
    assert "Traceback" not in new_place.server_log()


@pytest.mark.parametrize("options", [(), ("--vram", "10G"), ("--results", "runs")], ids=" ".join)
def test_a_pipe_goes_on_without_its_package(
    new_place: Place, tmp_path: Path, options: tuple[str, ...]
) -> None:
    with_driver(new_place, tmp_path)
    lease = new_place.start("sgs", "lease", "--on", "0", "--", "sh", "-c", "echo up > leased; cat")
    wait_until((new_place.folder / "leased").exists, "GPU 0 is leased")
    pipe = new_place.start("simple_gpu_scheduler", "--joblog", "log", *options)
    write(pipe, "true")
    wait_until(lambda: (new_place.folder / "log").exists() and rows(new_place), "the first end")
    write(pipe, GATE)
    wait_until((new_place.folder / "up").exists, "the second job is up")
    new_place.installed.remove()
    (new_place.folder / "go").touch()
    later = LATER if options else [line for line in LATER if line != LOUD]  # see NOT_CHEAP
    write(pipe, *later)
    wait_until(lambda: len(rows(new_place)) >= 4, "it is as far as the job of two GPUs")
    lease.communicate(timeout=BOUND_S)
    said, _ = pipe.communicate(timeout=BOUND_S)

    assert pipe.returncode == 1, said
    assert "Traceback" not in said, said
    assert f"2 of {len(later) + 2} jobs failed" in said
    codes = {int(row[0]): row[1] for row in rows(new_place)}
    assert codes[3] == "3", "exit 3"
    assert codes[5] != "0", "timed out"
    assert {codes[number] for number in codes if number not in (3, 5)} == {"0"}
    assert len(codes) == len(later) + 2


def write(pipe: subprocess.Popen[str], *lines: str) -> None:
    """Give lines to a pipe."""
    assert pipe.stdin is not None
    pipe.stdin.write("".join(f"{line}\n" for line in lines))
    pipe.stdin.flush()
