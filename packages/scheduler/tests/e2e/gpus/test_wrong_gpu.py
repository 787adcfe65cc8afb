"""A job that goes to another GPU than its own is told of, and nobody else is."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess

import pytest

from lease_machine import Machine, Server
from waiting import BOUND_S, wait_until

#: A job that is there until the test lets it go.
JOB = "echo $$ > new$SGS_SEQ; mv new$SGS_SEQ pid$SGS_SEQ; read x < gate; true"


class Run:
    """A scheduler whose jobs wait at a gate."""

    def __init__(self, machine: Machine, lines: str, *options: str) -> None:
        self.path = machine.path
        os.mkfifo(self.path / "gate")
        self._gate_fd = os.open(self.path / "gate", os.O_RDWR)
        self.program: subprocess.Popen[str] = machine.start(
            "simple_gpu_scheduler", "--quiet", *options
        )
        assert self.program.stdin is not None
        self.program.stdin.write(lines)
        self.program.stdin.close()

    def pid(self, seq: int) -> int:
        """The job's process, once it runs."""
        path = self.path / f"pid{seq}"
        wait_until(path.exists, f"job {seq} runs")
        return int(path.read_text())

    def line(self) -> str:
        """The next line of stderr."""
        assert self.program.stderr is not None
        assert select.select([self.program.stderr], [], [], BOUND_S)[0], "it says nothing"
        return self.program.stderr.readline()

    def end(self, jobs: int) -> str:
        """Let the jobs end; what the scheduler says until it has."""
        os.write(self._gate_fd, b"\n" * jobs)
        assert self.program.wait(BOUND_S) == 0
        os.close(self._gate_fd)
        assert self.program.stderr is not None
        return self.program.stderr.read()


def test_a_job_that_goes_elsewhere_is_told_of_once(server: Server) -> None:
    options = ("--gpus", "GPU-1", "--results", "r", "--json", "events")
    run = Run(server.machine, f"{JOB}\n", *options)
    pid = run.pid(1)
    server.write("", "", f"process {pid} 300")
    text = (
        f"job 1 was given GPU GPU-1, but its process {pid} (sh) uses GPU 2; "
        "does it set CUDA_VISIBLE_DEVICES itself?"
    )
    assert run.line() == f"simple_gpu_scheduler: {text}\n"
    assert run.end(1) == ""
    record = json.loads((server.machine.path / "r/1/result.json").read_text())
    assert (record["gpus"], record["other_gpus"]) == (["GPU-1"], ["2"])
    events = list(map(json.loads, (server.machine.path / "events").read_text().splitlines()))
    assert [one["text"] for one in events if one["event"] == "notice"] == [text]
    assert [one["other_gpus"] for one in events if one["event"] == "ended"] == [["2"]]


def test_a_job_may_go_there_by_itself(server: Server) -> None:
    """As it would with a CUDA_VISIBLE_DEVICES of its own; it ends at its own time."""
    card = "memory 80000 500\\nutilisation 0\\n"
    state = f"card GPU-0\\n{card}card GPU-1\\n{card}process %s 900\\n"
    line = f"printf '{state}' $$ > new; mv new {server.state.path}; read x < gate; true"
    run = Run(server.machine, f"{line}\n", "--gpus", "0")
    assert re.search(r"was given GPU 0, but its process \d+ \(sh\) uses GPU 1;", run.line())
    assert run.end(1) == ""


@pytest.mark.parametrize("options", [[], ["--vram", "10G"]])
def test_who_is_where_he_belongs_is_not_told_of(server: Server, options: list[str]) -> None:
    """The look that finds job 3 elsewhere finds the others, and a stranger, as well."""
    if not options:
        options = ["--jobs-per-gpu", "3"]
    run = Run(server.machine, f"{JOB}\n" * 3, "--gpus", "0", *options)
    pids = [run.pid(seq) for seq in (1, 2, 3)]
    own = f"process {pids[0]} 900\nprocess {pids[1]} 900"
    server.write(own, f"process {pids[2]} 900\nprocess {os.getpid()} 100", "")
    assert f"job 3 was given GPU 0, but its process {pids[2]} " in run.line()
    assert "was given" not in run.end(3)
