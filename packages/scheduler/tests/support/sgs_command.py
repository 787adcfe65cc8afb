"""The installed `sgs`, in a real process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


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
