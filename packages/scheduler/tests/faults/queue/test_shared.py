"""Queues of several users and a pipe on the same GPUs: none is used twice, and nobody starves."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from queues import Queue
from simple_gpu_scheduler.queue.records import JobRequest
from users import as_user
from waiting import wait_until
from witnesses import compiled

GPUS = "0,1,2,3"
PIPE = Path(sys.executable).parent / "simple_gpu_scheduler"


class UsersQueue(Queue):
    """The queue of one of several users."""

    def __init__(self, path: Path, leases: Path, uid: int | None) -> None:
        path.mkdir()
        super().__init__(path)
        self.uid = uid
        self.env["SGS_LEASE_DIR"] = str(leases)

    def start(self) -> subprocess.Popen[bytes]:
        """Start a server, as the user."""
        if self.uid is not None:
            for one in (self.path, *self.path.rglob("*")):
                os.chown(one, self.uid, self.uid)
        module = "simple_gpu_scheduler.queue.server.main"
        command = as_user(self.uid, [sys.executable, "-m", module, str(self.folder)])
        with open(self.server_log, "ab") as log:
            self.server = subprocess.Popen(command, env=self.env, stderr=log)
        self._servers.append(self.server)
        return self.server


class Place:
    """Where all users can come."""

    def __init__(self, path: Path) -> None:
        path.chmod(0o755)
        self.path = path
        self.program = compiled(path)
        self.seen = path / "seen"
        (self.seen / "begun").mkdir(parents=True)
        for one in (self.seen, self.seen / "begun"):
            one.chmod(0o777)
        for name in ("log", *(f"card{gpu}" for gpu in GPUS.split(","))):
            (self.seen / name).touch()
            (self.seen / name).chmod(0o666)

    def command(self, who: str, milliseconds: int) -> bytes:
        """A job of that queue, or of the pipe."""
        job = f"SGS_JOB={who}$SGS_JOB$SGS_SEQ SGS_ATTEMPT=${{SGS_ATTEMPT-1}}"
        program, seen = shlex.quote(str(self.program)), shlex.quote(str(self.seen))
        return f"{job} exec {program} {seen} {milliseconds} 0".encode()

    def log(self) -> list[str]:
        """What was seen, without what is the same of all."""
        return [line.split()[0] for line in (self.seen / "log").read_text().splitlines()]


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="queues-") as name:
        yield Place(Path(name))


@pytest.mark.parametrize(
    "uid",
    [
        None,
        pytest.param(
            61001,
            marks=[
                pytest.mark.root,
                pytest.mark.skipif(os.geteuid() != 0, reason="several users need root"),
            ],
        ),
    ],
    ids=["one user", "two users"],
)
def test_queues_and_a_pipe_on_the_same_gpus(place: Place, uid: int | None) -> None:
    """Their servers and launchers are killed meanwhile."""
    rng = random.Random(5)
    leases = place.path / "leases"
    queues = [
        UsersQueue(place.path / name, leases, user) for name, user in (("a", None), ("b", uid))
    ]
    try:
        jobs = [
            one.submit(
                *(JobRequest(place.command(name, rng.randrange(40))) for _ in range(25)),
                JobRequest(place.command(name, 5), gpus=4),
                JobRequest(place.command(name, 5), gpus=3),
            )
            for name, one in zip("ab", queues, strict=True)
        ]
        for one in queues:
            one.start()
        lines = b"".join(place.command("p", rng.randrange(40)) + b"\n" for _ in range(40))
        pipe = subprocess.Popen(
            [PIPE, "--quiet", "--gpus", GPUS],
            env=queues[0].env, stdin=subprocess.PIPE, cwd=place.path,
        )  # fmt: skip
        assert pipe.stdin is not None
        pipe.stdin.write(lines)
        pipe.stdin.close()
        for number in range(6):
            wait_until(lambda n=number: len(place.log()) > 10 * n, "they go on")
            one = queues[number % 2]
            assert one.server is not None
            victims = [one.server.pid, *one.launchers()]
            with suppress(ProcessLookupError):
                os.kill(victims[number // 2 % len(victims)], signal.SIGKILL)
            if one.server.poll() is not None or number // 2 % len(victims) == 0:
                one.server.wait()
                one.start()
        assert pipe.wait(60) == 0
        ended = [end for one, ids in zip(queues, jobs, strict=True) for end in one.wait(*ids)]
        log = place.log()
        assert set(log) == {"ends"}
        assert len(log) >= 40 + sum(end.state == "succeeded" for end in ended)
        assert sum(end.state == "lost" for end in ended) <= 4 * 6
    finally:
        for one in queues:
            one.close()
