"""A pipe of the old version goes on while the package is upgraded."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from .driver import with_driver
from .installation import BOUND_S, Place, wait_until

GATE = "echo up > up; until [ -e go ]; do sleep 0.05; done; echo gate"
#: Its stderr goes through the relay, as its GPU's memory may be too little.
LOUD = "echo loud >&2  # sgs: vram=10G"
LATER = [
    "exit 3",
    "[ -e again ] && echo retried || { touch again; exit 1; }  # sgs: retries=2",
    "exec sleep 1000  # sgs: timeout=0.2s",
    LOUD,
    "echo both  # sgs: gpus=2",
]


def start(place: Place, *options: str) -> subprocess.Popen[str]:
    """A pipe whose first job waits at the gate."""
    pipe = place.start("simple_gpu_scheduler", *options)
    assert pipe.stdin is not None
    pipe.stdin.write(f"{GATE}\n")
    pipe.stdin.flush()
    wait_until((place.folder / "up").exists, "the first job is up")
    return pipe


def rows(place: Place) -> list[list[str]]:
    """What the job log has: of each attempt the job's number, exit status, and signal."""
    lines = (place.folder / "log").read_text().splitlines()[1:]
    return sorted([fields[0], *fields[6:8]] for fields in (line.split("\t") for line in lines))


RESULTS = ("--results", "runs")


@pytest.mark.parametrize(
    "options",
    [(), ("--vram", "10G"), ("--vram", "auto"), RESULTS, (*RESULTS, "--vram", "10G")],
    ids=" ".join,
)
def test_an_old_pipe_goes_on_through_an_upgrade(
    place: Place, tmp_path: Path, options: tuple[str, ...]
) -> None:
    with_driver(place, tmp_path)
    pipe = start(place, "--joblog", "log", *options)
    place.installed.upgrade()
    (place.folder / "go").touch()
    said, _ = pipe.communicate("".join(f"{line}\n" for line in LATER), timeout=BOUND_S)

    assert "Traceback" not in said, said
    assert pipe.returncode == 1, said
    assert "2 of 6 jobs failed" in said
    assert said.count("Processing command") == 7, "six jobs, one of them twice"
    found = rows(place)
    assert [one for one in found if one[0] in ("1", "2", "5", "6")] == [
        ["1", "0", "0"], ["2", "3", "0"], ["5", "0", "0"], ["6", "0", "0"],
    ]  # fmt: skip
    outputs = [path.read_text() for path in (place.folder / "runs").rglob("std*")]
    printed = sorted(filter(None, outputs)) if "--results" in options else said.splitlines(True)
    for word in ("both", "gate", "loud", "retried"):
        assert printed.count(f"{word}\n") == 1, printed


def test_an_old_pipe_that_is_upgraded_ends_on_a_signal(place: Place) -> None:
    pipe = start(place, "--gpus", "0", "--joblog", "log")
    place.installed.upgrade()
    pipe.send_signal(signal.SIGTERM)
    said, _ = pipe.communicate(f"{LATER[0]}\n", timeout=BOUND_S)
    assert "Traceback" not in said, said
    assert pipe.returncode == 128 + signal.SIGTERM, said


def test_old_lines_of_a_search_come_through_an_upgrade(place: Place) -> None:
    """The search waits for the pipe's reader as long as the sweep takes."""
    values = [str(n) for n in range(400)]
    words = ["train {a} {b}", "-p", "a", *values, "-p", "b", *values]
    with place.start("simple_hypersearch", *words) as search:
        assert search.stdout is not None
        first = search.stdout.readline()
        place.installed.upgrade()
        rest = search.stdout.readlines()
    assert search.returncode == 0, rest[-1]
    assert len({first, *rest}) == 400 * 400
