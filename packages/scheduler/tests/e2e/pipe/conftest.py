"""The installed pipe command in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import process_state
from pipe_box import Box, status_field
from waiting import wait_until


@pytest.fixture
def box(tmp_path):
    """A folder with an awkward name, and all that runs in it."""
    path = tmp_path / "it's a $HOME \\ \u00e9 #"
    path.mkdir()
    box = Box(path)
    yield box
    box.close()


@pytest.fixture
def until():
    """`until(seen, what)` waits until something is seen."""
    return wait_until


@pytest.fixture
def is_alive():
    return process_state.is_alive


@pytest.fixture
def status_of():
    return status_field


@pytest.fixture
def parse_joblog():
    """Rows of a job log as (seq, exit value, signal, command)."""

    def parse(path):
        lines = Path(path).read_bytes().split(b"\n")
        assert lines[0].split(b"\t") == (
            b"Seq Host Starttime JobRuntime Send Receive Exitval Signal Command".split()
        )
        assert lines.pop() == b""
        rows = [line.split(b"\t", 8) for line in lines[1:]]
        return [(int(row[0]), int(row[6]), int(row[7]), row[8]) for row in rows]

    return parse


@pytest.fixture
def each_once():
    """Check that each of these was seen exactly once."""

    def check(seen, expected):
        seen, expected = Counter(seen), Counter(expected)
        assert not seen - expected, "more often than expected"
        assert not expected - seen, "missing"

    return check


@pytest.fixture(scope="session")
def gnu_parallel():
    """The path of GNU parallel."""

    def found():
        path = shutil.which("parallel")
        if path is None:
            return None
        version = subprocess.run(
            [path, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return path if version.stdout.startswith("GNU parallel") else None

    if found() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"stdin": subprocess.DEVNULL, "capture_output": True}
        subprocess.run(["apt-get", "install", "-y", "-q", "parallel"], **quiet)
    path = found()
    if path is None:
        pytest.skip("GNU parallel isn't installed")
    return path
