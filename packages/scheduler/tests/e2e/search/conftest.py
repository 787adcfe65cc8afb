"""The installed simple_hypersearch, in a real process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).parent / "simple_hypersearch")


class Ended:
    """What one run left behind, as bytes and as text."""

    def __init__(self, process, output, errors):
        self.status = process.returncode
        self.bytes = output
        self.errors = os.fsdecode(errors)

    @property
    def lines(self):
        return os.fsdecode(self.bytes).splitlines()


class HyperSearch:
    """Runs the command and hands back how it ended."""

    path = COMMAND

    def __call__(self, *arguments):
        process = subprocess.Popen(
            [COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return Ended(process, *process.communicate(timeout=120))

    def lines(self, *arguments):
        ended = self(*arguments)
        assert (ended.status, ended.errors) == (0, "")
        return ended.lines

    def error(self, *arguments, status=2):
        ended = self(*arguments)
        assert ended.status == status
        assert ended.errors.startswith("simple_hypersearch: error: ")
        assert ended.errors.count("\n") == 1
        return ended.errors.removeprefix("simple_hypersearch: error: ").rstrip("\n")

    def shell(self, script):
        environment = {**os.environ, "S": COMMAND}
        return subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, timeout=120, check=False
        )


@pytest.fixture(scope="session")
def hypersearch():
    return HyperSearch()
