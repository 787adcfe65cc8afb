"""`sgs report` over a queue that has run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from queues import SGS, Shell
from simple_gpu_scheduler.queue.usage import (
    BY,
)


def report(shell: Shell, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell.sgs("report", "--json", *words))
    return found


@pytest.fixture
def used(shell: Shell) -> Shell:
    """A queue of which two groups have run."""
    shell.sgs("submit", "--group", "a b", "--name", "n", lines="echo 0.1\necho 0.2\nfalse\n")
    shell.sgs("submit", "--group", "\x1b[2J\n", "--gpus", "2", "--retries", "2", "--", "exit 3")
    shell.sgs("submit", "--hold", "true")
    shell.sgs("wait", "1-4", status=1)
    return shell


def test_what_has_run_is_reported(used: Shell) -> None:
    total = report(used)["total"]
    assert (total["jobs"], total["attempts"], total["retries"]) == (4, 5, 1)
    assert (total["succeeded"], total["failed"], total["success_rate"]) == (2, 2, 0.5)
    assert total["gpu_hours"] > 0
    assert total["waited"]["p50_s"] >= 0
    assert total["vram_peak_mib"] is None
    rows = {one["key"]: one for one in report(used)["rows"]}
    assert rows.keys() == {"a b", "\x1b[2J\n"}
    assert rows["a b"]["jobs"] == 3
    by = {what: [one["key"] for one in report(used, "--by", what)["rows"]] for what in BY}
    assert by["command"] == ["echo #", "exit #", "false"]
    assert by["name"] == ["", "n"]
    assert by["gpu"] == ["0", "1"]
    assert len(by["user"]) == len(by["day"]) == 1 or len(by["day"]) == 2  # at midnight
    assert report(used, "--group", "a b", "--all")["total"]["jobs"] == 3
    assert report(used, "--since", "0")["total"]["jobs"] == 0


def test_the_table(used: Shell) -> None:
    lines = used.sgs("report").splitlines()
    assert lines[0].startswith("4 jobs in 5 attempts since ")
    assert lines[0].endswith(" GPU hours, 50% succeeded")
    assert lines[2].split()[:5] == ["group", "jobs", "ok", "failed", "lost"]
    assert [line.split()[:3] for line in lines[3:]] == [
        ["\\x1b[2J\\n", "1", "0"], ["a", "b", "3"], ["all", "4", "2"]
    ]  # fmt: skip
    assert all(line.isprintable() for line in lines)
    assert used.sgs("report", "--since", "0s").startswith("No job has run since ")


def test_without_a_queue_nothing_is_created(tmp_path: Path) -> None:
    env = {**os.environ, "SGS_STATE_DIR": str(tmp_path / "none")}
    done = subprocess.run([SGS, "report"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("No job has run since ")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["use.png", "né w.svg"])
def test_a_figure(used: Shell, name: str) -> None:
    used.env["MPLCONFIGDIR"] = str(used.path / "mpl")
    used.sgs("report", "--figure", name)
    begins = (used.path / name).read_bytes()[:100]
    assert begins.startswith(b"\x89PNG") or b"<?xml" in begins


def test_a_figure_that_cannot_be_drawn(used: Shell) -> None:
    used.env["MPLCONFIGDIR"] = str(used.path / "mpl")
    assert "can't be written" in used.sgs("report", "--figure", "no/where.png", status=1)
    assert "can't be written" in used.sgs("report", "--figure", "use.odd", status=1)
    (used.path / "matplotlib.py").write_text("raise ImportError")
    used.env["PYTHONPATH"] = str(used.path)
    said = used.sgs("report", "--figure", "use.png", status=1)
    assert "install it, or simple-gpu-scheduler with its extra `simulate`" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "soon"], "--since 'soon': expected seconds or a duration"),
        (["--by", "odd"], "invalid choice"),
        (["--all", "--since", "1d"], "not allowed with"),
    ],
)
def test_what_is_wrong_is_said(shell: Shell, words: list[str], said: str) -> None:
    assert said in shell.sgs("report", *words, status=2)
