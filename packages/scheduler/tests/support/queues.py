"""A queue with a server of its own, in real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from simple_gpu_scheduler.queue import server_lock
from simple_gpu_scheduler.queue.launcher.client import journals
from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import OPEN_STATES, Context, JobRequest, QueuedJob
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from waiting import BOUND_S, wait_until
from witnesses import Witnesses, compiled

SGS = Path(sys.executable).parent / "sgs"


class Start(NamedTuple):
    """What the file has of an attempt."""

    started_s: float
    memory_mib: int | None
    reason: str


class Queue:
    """One queue, its server, and what can be done to them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "state" / "queue" / socket.gethostname()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        places = {"SGS_LEASE_DIR": str(path / "leases"), "SGS_STATE_DIR": str(path / "state")}
        self.env = {**os.environ, **places}
        self.store = QueueStore(str(self.folder / "queue.sqlite3"))
        self.store.set("gpus", "0,1,2,3")
        environ = tuple((k.encode(), v.encode()) for k, v in self.env.items() if k == "PATH")
        self.context = Context(bytes(path), environ, 0o022)
        self.database = self.folder / "queue.sqlite3"
        self.server_log = path / "server.log"
        self.server: subprocess.Popen[bytes] | None = None
        self._servers: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start a server."""
        module = "simple_gpu_scheduler.queue.server.main"
        with open(self.server_log, "ab") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", module, str(self.folder)], env=self.env, stderr=log
            )
        self._servers.append(self.server)
        return self.server

    def submit(self, *requests: JobRequest | bytes) -> list[int]:
        """Submit, and call the server."""
        asked = [JobRequest(one) if isinstance(one, bytes) else one for one in requests]
        found = self.store.submit(self.context, asked, time.time())
        call(str(self.folder))
        return [one.id for one in found]

    def entry(self, job: int) -> QueuedJob:
        """The job as it is now."""
        entry = self.store.entry(job)
        assert entry is not None
        return entry

    def wait(self, *jobs: int) -> list[QueuedJob]:
        """Wait until they have ended."""
        wait_until(
            lambda: all(self.entry(job).state not in OPEN_STATES for job in jobs),
            f"jobs {jobs} end",
        )
        return [self.entry(job) for job in jobs]

    def attempts(self) -> list[Start]:
        """All starts, in the order of jobs and numbers."""
        query = "SELECT started_s, memory_mib, reason FROM attempts ORDER BY job, number"
        with closing(sqlite3.connect(self.folder / "queue.sqlite3")) as database:
            return [Start(*row) for row in database.execute(query)]

    def log(self, job: int, attempt: int = 1) -> bytes:
        """What an attempt printed so far."""
        path = self.folder / "logs" / f"{job}.{attempt}.log"
        return path.read_bytes() if path.exists() else b""

    def launchers(self) -> list[int]:
        """Pids of the launchers that live, by who holds a journal's lock."""
        found = []
        for journal in journals(str(self.folder)):
            if journal.is_held():
                status = (self.folder / f"{journal.name}.journal").stat()
                device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
                for line in Path("/proc/locks").read_text().splitlines():
                    fields = line.split()
                    if "FLOCK" in fields and fields[-3] == f"{device}:{status.st_ino}":
                        found.append(int(fields[-4]))
            journal.close()
        return found

    def close(self) -> None:
        """End what a test has left."""
        for server in self._servers:
            if server.poll() is None:
                server.kill()
            server.wait()
        if about := server_lock.server(str(self.folder)):  # a submitter has started it
            os.kill(int(about["pid"]), signal.SIGKILL)
        for attempt, _ in self.store.running():
            if attempt.pid:
                with suppress(ProcessLookupError):
                    os.killpg(attempt.pid, signal.SIGKILL)
        for pid in self.launchers():
            os.kill(pid, signal.SIGKILL)
        self.store.close()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """An empty queue on four GPUs, without a server."""
    one = Queue(tmp_path)
    yield one
    one.close()


class Shell:
    """A user's shell, with a queue of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path / "a b"
        self.path.mkdir()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SGS_", "CUDA_"))}
        state = {"SGS_STATE_DIR": str(path / "state"), "SGS_LEASE_DIR": str(path / "leases")}
        self.env = {**clean, **state, "LANG": "C.UTF-8"}

    def sgs(self, *words: str, lines: str = "", status: int = 0) -> str:
        """Run a command; returns what it prints, stdout before stderr."""
        done = subprocess.run(
            [SGS, *words], cwd=self.path, env=self.env, input=lines, capture_output=True,
            text=True, timeout=BOUND_S, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def objects(self, *words: str) -> list[dict[str, object]]:
        """What `sgs status --json` tells."""
        found: list[dict[str, object]] = json.loads(self.sgs("status", "--json", *words))
        return found

    def server(self) -> int | None:
        """The server's process."""
        done = subprocess.run(
            [SGS, "server", "status", "--json"], env=self.env, capture_output=True, check=False
        )
        pid: int | None = json.loads(done.stdout)["pid"]
        return pid


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A queue on GPUs 0 and 1."""
    one = Shell(tmp_path)
    one.sgs("server", "start", "--gpus", "0,1")
    yield one
    if jobs := [str(job["id"]) for job in one.objects("--limit", "100000")]:
        # They may all have ended meanwhile, so that there is nothing to do.
        subprocess.run([SGS, "cancel", *jobs], env=one.env, capture_output=True, check=False)
    one.sgs("server", "stop")


@pytest.fixture(scope="session")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that jobs are, where they bear witness; see witness.c."""
    return compiled(tmp_path_factory.mktemp("witness"))


@pytest.fixture
def witnesses(tmp_path: Path, witness: Path) -> Witnesses:
    """What the jobs of this test have seen."""
    return Witnesses(tmp_path / "seen", witness)
