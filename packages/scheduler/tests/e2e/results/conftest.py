"""Handmade results directories."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from sgs_command import sgs

__all__ = ["results", "sgs"]

RECORD = {
    "command": "python train.py",
    "exit_code": 0,
    "signal": None,
    "timed_out": False,
    "attempt": 1,
    "gpus": ["0"],
    "started": 1_700_000_000.0,
    "ended": 1_700_000_002.0,
    "runtime_s": 2.0,
    "user_s": 1.5,
    "system_s": 0.25,
    "max_rss_mib": 100.5,
}


class ResultsDir:
    """Writes what `simple_gpu_scheduler --results` writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._lock_fd = None

    def add(self, seq, output="", *, stderr="", running=False, raw_record=None, **record):
        folder = self.path / str(seq)
        folder.mkdir()
        command = record.get("command", RECORD["command"]) + "\n"
        for name, text in (("command", command), ("stdout", output), ("stderr", stderr)):
            data = text if isinstance(text, bytes) else os.fsencode(text)
            (folder / name).write_bytes(data)
        if running:
            self._be_in_use()
            return
        if raw_record is None:
            raw_record = json.dumps({"seq": seq} | RECORD | record).encode()
        (folder / "result.json").write_bytes(raw_record)

    def _be_in_use(self):
        """As while a scheduler writes to it."""
        if self._lock_fd is None:
            self._lock_fd = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def abandon(self):
        """The scheduler is gone."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


@pytest.fixture
def results(tmp_path):
    made = ResultsDir(tmp_path / "results")
    yield made
    made.abandon()
