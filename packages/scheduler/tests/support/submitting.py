"""A user who submits: his folder, his queue, and what he gets to see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.store.jobs import QueueStore

SGS = Path(sys.executable).parent / "sgs"
BOUND_S = 60.0


class Said(NamedTuple):
    status: int
    out: bytes
    err: bytes


class User:
    """One who has a queue of his own, on GPUs 0 and 1."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "it's \u00e9\n\udcff"
        self.folder.mkdir()
        self.state = path / "state"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SGS_", "CUDA_"))}
        self.env = {
            **clean,
            "SGS_STATE_DIR": str(self.state),
            "SGS_LEASE_DIR": str(path / "leases"),
            "LC_ALL": "C.UTF-8",
        }

    def say(self, *words: str | bytes | Path, data: bytes = b"", cwd: Path | None = None) -> Said:
        """Run sgs; nobody ever sees a traceback."""
        done = subprocess.run(
            [SGS, *words], cwd=cwd or self.folder, env=self.env, input=data,
            capture_output=True, timeout=BOUND_S, check=False,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return Said(done.returncode, done.stdout, done.stderr)

    def submit(
        self, *words: str | bytes | Path, data: bytes = b"", cwd: Path | None = None
    ) -> int:
        """Submit one job; returns its number, the last word of what is printed."""
        said = self.say("submit", *words, data=data, cwd=cwd)
        assert said.status == 0, said.err.decode()
        return int(said.out.split()[-1])

    def refused(self, *words: str | bytes | Path, data: bytes = b"", status: int = 2) -> str:
        """What is said to one whose jobs are not accepted."""
        before = len(self.entries()) if self.state.exists() else 0
        said = self.say("submit", *words, data=data)
        assert (said.status, said.out) == (status, b""), said
        assert len(self.entries()) == before
        return said.err.decode(errors="surrogateescape")

    def run(self, *words: str | bytes | Path, cwd: Path | None = None) -> bytes:
        """Submit one job, wait for its success; returns what it printed."""
        job = self.submit(*words, cwd=cwd)
        said = self.say("wait", str(job))
        log = self.say("logs", str(job)).out
        assert said.status == 0, said.err.decode() + log.decode(errors="replace")
        return log

    def entries(self) -> list[QueuedJob]:
        """All jobs."""
        (path,) = self.state.glob("queue/*/queue.sqlite3")
        store = QueueStore(str(path))
        try:
            return store.entries()
        finally:
            store.close()

    def leave(self) -> None:
        """End what a test has left."""
        if not list(self.state.glob("queue/*/queue.sqlite3")):
            return
        for entry in self.entries():
            self.say("cancel", str(entry.id))
        for entry in self.entries():
            if entry.state == "running":
                self.say("wait", str(entry.id))
        self.say("server", "stop")
