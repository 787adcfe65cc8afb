"""`sgs explain ID`: why a job waits, when it will start, how it gets on, and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fake_nvml
from queues import SGS, Shell
from waiting import wait_until

UNTIL_GO = "until [ -e go ]; do sleep 0.01; done"


def explained(shell: Shell, job: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell.sgs("explain", "--json", str(job)))
    return found


def runs(shell: Shell, job: int) -> None:
    wait_until(lambda: shell.objects("--all")[job - 1]["state"] == "running", f"job {job} runs")


@contextmanager
def held(shell: Shell, *options: str) -> Iterator[int]:
    """GPUs that somebody has meanwhile; the pid that has them."""
    lease = subprocess.Popen(
        [SGS, "lease", *options, "--", "sh", "-c", "echo $$; read x"], env=shell.env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with lease:
        assert lease.stdout is not None
        yield int(lease.stdout.readline())
        assert lease.stdin is not None
        lease.stdin.close()


def test_what_keeps_a_job_is_told_all_at_once(shell: Shell) -> None:
    shell.sgs("submit", "--", UNTIL_GO)
    shell.sgs("submit", "--hold", "true")
    shell.sgs("submit", "--hold", "--delay", "2h", "--after", "1", "--after-any", "2", "--", "x\n")
    runs(shell, 1)
    first, second, third, fourth = explained(shell, 3)["reasons"]
    assert first == "it is held by you; sgs release 3 lets it go"
    assert second.startswith("it is to start at ")
    assert " or later, in 1h59m" in second or " or later, in 2h00m" in second
    assert third.startswith("it waits for the success of job 1, which runs since ")
    assert fourth == "it waits for the end of job 2, which is held"
    lines = shell.sgs("explain", "3").splitlines()
    assert lines[:3] == ["job 3 is held", "  x\\n", f"- {first}"]
    assert len(lines) == 6
    (shell.path / "go").touch()


def test_who_has_the_gpus_and_who_goes_first(shell: Shell) -> None:
    with held(shell, "--on", "1", "--kind", "notebook") as pid:
        shell.sgs("submit", "--", UNTIL_GO)
        shell.sgs("submit", "--gpus", "2", "--priority", "3", "true")
        shell.sgs("submit", "--priority", "1", lines="true\n" * 7)
        shell.sgs("submit", "true")
        runs(shell, 1)
        second = explained(shell, 2)
        assert second["reasons"] == ["it needs 2 GPUs, and 0 are free"]
        mine, theirs = second["cards"]
        assert mine["reason"].startswith("leased by job 1 since ")
        assert f"'s notebook (pid {pid}) since " in theirs["reason"]
        last = explained(shell, 10)
        assert (last["ahead"], len(last["reasons"])) == (8, 2)
        assert last["reasons"][0] == (
            "8 jobs go first, by priority and then submission: 2 (priority 3), 3 (priority 1), "
            "4 (priority 1), 5 (priority 1), 6 (priority 1) and 3 more"
        )
        assert last["forecast"] == (
            "nobody knows when it will start: no job of this queue has succeeded yet"
        )
        (shell.path / "go").touch()
        shell.sgs("wait", "1", "3-10")
        stuck = explained(shell, 2)
        assert stuck["reasons"] == ["it needs 2 GPUs, and 1 is free"]
        assert stuck["forecast"] == "nobody knows when it will start: others have what it needs"
        assert stuck["cards"][0]["reason"] == "free"
    shell.sgs("wait", "2")


def test_when_it_will_start_is_told_from_those_that_ended(shell: Shell) -> None:
    shell.sgs("submit", lines="".join(f"sleep 0.{n}; [ -e go ] # train\n" for n in (1, 2, 3, 4)))
    (shell.path / "go").touch()
    shell.sgs("wait", "1-4")
    (shell.path / "go").unlink()
    shell.sgs("submit", "--", UNTIL_GO)
    shell.sgs("submit", "--", UNTIL_GO)
    runs(shell, 6)
    shell.sgs("submit", lines="sleep 9; true # train\n" * 2)
    found = explained(shell, 8)
    assert found["ahead"] == 1
    assert found["forecast"].startswith("it will probably start ")
    assert found["forecast"].endswith("judging by 4 runs of this queue")
    assert found["forecast_runs"] == 4
    starts = found["starts_in"]
    assert 0 <= starts["soonest_s"] <= starts["likely_s"] <= starts["latest_s"] < 5
    (shell.path / "go").touch()
    shell.sgs("cancel", "7-8")


def test_when_it_will_end(shell: Shell) -> None:
    (shell.path / "go").touch()
    command = "sleep 0.0; until [ -e go ]; do sleep 0.05; done"
    shell.sgs("submit", "--", command)
    shell.sgs("wait", "1")
    (shell.path / "go").unlink()
    shell.sgs("submit", "--", command.replace("0.0;", "0.1;"))
    runs(shell, 2)
    wait_until(lambda: "longer than" in str(explained(shell, 2)["forecast"]), "it runs long")
    found = explained(shell, 2)
    assert found["forecast"] == "it runs longer than the 1 job like it (0s at most)"
    assert (found["ends_in"], found["forecast_runs"]) == (None, 1)
    (attempt,) = found["attempts"]
    assert (attempt["state"], attempt["gpus"], attempt["ended"]) == ("running", ["0"], None)
    assert "attempt 1: runs " in shell.sgs("explain", "2")
    (shell.path / "go").touch()
    shell.sgs("submit", "--", "sleep 60 # nothing like it")
    runs(shell, 3)
    assert "no job like it has succeeded yet" in shell.sgs("explain", "3")


def test_how_it_ended_and_each_attempt(shell: Shell) -> None:
    shell.sgs("submit", "--retries", "3", "--", "[ -e again ] && exit 4; touch again; kill -9 $$")
    shell.sgs("wait", "1", status=4)
    found = explained(shell, 1)
    assert (found["state"], found["how"]) == ("failed", "exit 4")
    assert [(one["state"], one["exit_code"], one["signal"]) for one in found["attempts"]] == [
        ("failed", None, signal.SIGKILL), ("failed", 4, None), ("failed", 4, None)
    ]  # fmt: skip
    assert all(one["user_s"] is not None and one["max_rss_mib"] for one in found["attempts"])
    lines = shell.sgs("explain", "1").splitlines()
    assert lines[0] == "job 1 has failed: exit 4"
    assert lines[3].startswith("attempt 1: ran 0s on GPU 0 since ")
    assert lines[3].endswith("; failed, signal 9")
    assert "of RAM in its largest process" in lines[4]
    shell.sgs("submit", "--hold", "true")
    shell.sgs("cancel", "2")
    assert shell.sgs("explain", "2").splitlines() == ["job 2 was cancelled", "  true"]


def test_a_queue_that_starts_nothing_says_why(shell: Shell) -> None:
    shell.sgs("server", "drain")
    shell.sgs("submit", "true")
    shell.sgs("submit", "true")
    drained = "the queue is drained: it starts nothing before sgs server resume"
    assert explained(shell, 1)["reasons"] == [drained, "else it would start on GPU 0"]
    shell.sgs("server", "stop")
    reasons = explained(shell, 2)["reasons"]
    assert reasons[1].startswith("no server runs")
    assert reasons[2].startswith("1 job goes first")


def test_of_a_long_queue_the_pace_is_told(shell: Shell) -> None:
    shell.sgs("submit", lines="sleep 0.05\n" * 4)
    shell.sgs("wait", "1-4")
    shell.sgs("server", "drain")
    shell.sgs("submit", lines="true\n" * 200)
    shell.sgs("server", "resume")
    shell.sgs("server", "drain")
    shell.sgs("submit", lines="true\n" * 200)
    found = explained(shell, 404)
    assert found["ahead"] > 128
    assert found["reasons"][-1] == f"{found['ahead']:,} jobs go first"
    assert found["starts_in"] is None  # as long as it is drained


def test_with_a_driver_strangers_and_slots_are_told_apart(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    machine = fake_nvml.Machine(fake_nvml.compiled(tmp_path_factory.mktemp("nvml")), tmp_path)
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        busy = fake_nvml.card("GPU-b", memory="80000 20500", processes=[(stranger.pid, 20000)])
        machine.write(fake_nvml.card("GPU-a", memory="80000 500"), busy)
        shell = Shell(tmp_path)
        shell.env |= {
            "LD_LIBRARY_PATH": str(machine.library), "FAKE_NVML_STATE": str(machine.path)
        }  # fmt: skip
        try:
            shell.sgs("submit", "--", UNTIL_GO)
            shell.sgs("submit", "--vram", "79G", "true")
            shell.sgs("submit", "--vram", "70G", "true")
            runs(shell, 1)
            shell.env |= {"CUDA_VISIBLE_DEVICES": "", "SGS_LEASE": "x:0"}  # as within a lease
            wait_until(lambda: shell.objects("--all")[1]["state"] == "failed", "it never can run")
            reason = str(shell.objects("--all")[1]["reason"])
            assert reason.startswith("asks for 79 GiB on one GPU, but")
            mine, theirs = explained(shell, 3)["cards"]
            assert mine["reason"].startswith("leased by job 1 since ")
            assert theirs["reason"].startswith("used by ")
            assert f"(pid {stranger.pid}, sleep, 19.5 GiB)" in theirs["reason"]
        finally:
            (shell.path / "go").touch()
            stranger.kill()
            for job in shell.objects():
                shell.sgs("cancel", str(job["id"]))
            shell.sgs("server", "stop")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["7"], "there is no job 7"),
        (["x"], "'x' is no job"),
        (["1-2"], "'1-2' names 2 jobs; expected the number of one"),
        (["1", "--vram", "1G"], "expected no option but --json"),
    ],
)
def test_what_is_wrong_is_said(shell: Shell, words: list[str], said: str) -> None:
    shell.sgs("submit", "--hold", lines="true\ntrue\n")
    assert said in shell.sgs("explain", *words, status=2)


def test_an_awkward_command_is_one_line(shell: Shell) -> None:
    shell.sgs("submit", "--hold", "--", os.fsdecode(b"echo 'a\nb' \"\x1b[2J\" \xff \xc3\xa9"))
    lines = shell.sgs("explain", "1").splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert "\u00e9" in lines[1]
