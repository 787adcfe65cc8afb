"""Handmade results directories, and the installed `sgs` in a real process."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture
def sgs():
    script = Path(sys.executable).parent / "sgs"
    assert script.exists(), "the package must be installed"
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}

    def run(*arguments, **kwargs):
        kwargs.setdefault("timeout", 60)
        kwargs.setdefault("env", environment)
        return subprocess.run(
            [script, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            **kwargs,
        )

    run.script = script
    run.environment = environment
    return run
