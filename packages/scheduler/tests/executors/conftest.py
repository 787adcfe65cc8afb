"""Pools on GPUs that are only names, and calls that really occupy them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

#: What a script of a test begins with.
HEAD = """\
import fcntl, os, signal, sys, time
from simple_gpu_scheduler.executor import GPUExecutor

def block(path):
    '''Never ends; holds a lock meanwhile, so that one can wait for its end.'''
    lock = open(path, "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(1, f"up {os.environ['CUDA_VISIBLE_DEVICES']}\\n".encode())
    while True:
        time.sleep(1000)

"""


class Cards:
    """Files of which a call locks the one of its GPU, without waiting."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def call(self, seconds: float) -> Callable[[Any], str]:
        """A call that occupies its GPU for so long and returns its name."""
        folder = str(self.path)

        def occupy(_: Any) -> str:
            import fcntl
            import os
            import time

            gpu = os.environ["CUDA_VISIBLE_DEVICES"]
            with open(f"{folder}/{gpu}", "w") as card:
                fcntl.flock(card, fcntl.LOCK_EX | fcntl.LOCK_NB)
                time.sleep(seconds)
            return gpu

        return occupy


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    """The cards of this test."""
    return Cards(tmp_path / "cards")


class Scripts:
    """Programs of users."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started: list[subprocess.Popen[str]] = []

    def start(self, text: str, *before: str, **settings: Any) -> subprocess.Popen[str]:
        """Start one, behind the words of another command if there are any."""
        file = self.path / f"script{len(self._started)}.py"
        file.write_text(HEAD + text)
        program = subprocess.Popen(
            [*before, sys.executable, "-W", "error", str(file)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": self.path, **settings},
            text=True,
            start_new_session=True,
        )
        self._started.append(program)
        return program

    def run(self, text: str, *before: str, **settings: Any) -> str:
        """Run one to its end; returns what it printed."""
        program = self.start(text, *before, **settings)
        out, err = program.communicate(timeout=120)
        assert (program.returncode, err) == (0, "")
        return str(out)

    def close(self) -> None:
        """End what a failed test has left."""
        for program in self._started:
            if program.poll() is None:
                program.kill()
            program.communicate()


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    """The programs of this test."""
    one = Scripts(tmp_path)
    yield one
    one.close()
