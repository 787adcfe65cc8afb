"""The queue as its users meet it: the installed commands, with a server started by need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from queues import SGS, Shell
from simple_gpu_scheduler.cli.queue import jobs as queued_jobs
from waiting import BOUND_S, wait_until


def test_submit_wait_and_read(shell: Shell) -> None:
    assert shell.sgs("submit", "--", "sh", "-c", "echo 'hallo \u00e9'; pwd; exit 3") == "1\n"
    assert shell.sgs("wait", "1", status=3) == "sgs wait: job 1 failed: exit 3\n"
    assert shell.sgs("logs", "1") == f"hallo \u00e9\n{shell.path}\n"
    assert shell.sgs("logs", "-f", "1") == f"hallo \u00e9\n{shell.path}\n"
    (job,) = shell.objects("--all")
    assert (job["id"], job["state"], job["exit_code"]) == (1, "failed", 3)
    assert job["gpus"] == ["0"]
    assert job["command"] == "sh -c 'echo '\"'\"'hallo \u00e9'\"'\"'; pwd; exit 3'"
    assert shell.sgs("status") == "1 failed\n"
    assert "failed: exit 3" in shell.sgs("status", "--all")


def test_a_search_is_one_group(shell: Shell) -> None:
    lines = "echo $CUDA_VISIBLE_DEVICES # sgs: gpus=2\n\nexit 2\ntrue\n"
    assert shell.sgs("submit", "--group", "lr", lines=lines) == "1\n2\n3\n"
    assert "job 2 failed: exit 2" in shell.sgs("wait", "--group", "lr", status=1)
    assert shell.sgs("logs", "1") == "0,1\n"
    assert [one["state"] for one in shell.objects("--all", "--group", "lr")] == [
        "succeeded", "failed", "succeeded"
    ]  # fmt: skip
    assert shell.sgs("retry", "--group", "lr") == "queued again: 2\n"
    shell.sgs("wait", "2", status=2)
    assert shell.objects("--all", "--state", "failed")[0]["attempt"] == 2


def test_needs_keys_holding_and_cancelling(shell: Shell) -> None:
    shell.sgs("submit", "--hold", "--key", "k", "--", "true")
    assert shell.sgs("submit", "--key", "k", "true").splitlines() == [
        "1", "sgs submit: job 1 has this key: held"
    ]  # fmt: skip
    shell.sgs("submit", "--after", "1", "--", "echo", "second")
    assert "queued (waits for 1)" in shell.sgs("status")
    assert shell.sgs("hold", "1", status=1) == "nothing to do: none of them waits\n"
    assert shell.sgs("release", "1") == "released: 1\n"
    assert shell.sgs("wait", "1", "2") == ""
    shell.sgs("submit", "--", "sleep", "60")
    assert shell.sgs("cancel", "3") == "cancelled: 3\n"
    assert "job 3 was cancelled" in shell.sgs("wait", "3", status=128 + signal.SIGTERM)


def test_drained_it_starts_nothing_until_resumed(shell: Shell) -> None:
    shell.sgs("server", "drain")
    shell.sgs("submit", "true")
    time.sleep(0.2)  # gives it the chance to be wrong
    assert [one["state"] for one in shell.objects()] == ["queued"]
    shell.sgs("server", "resume")
    shell.sgs("wait", "1")


def test_that_it_is_drained_is_said_wherever_one_would_wonder(shell: Shell) -> None:
    shell.sgs("server", "drain")
    shell.sgs("submit", "true")
    drained = "he queue is drained: it starts nothing before sgs server resume"
    assert shell.sgs("status").splitlines()[-1] == f"T{drained}."
    assert shell.sgs().splitlines()[2] == f"T{drained}."
    with subprocess.Popen(
        [SGS, "wait", "1"], cwd=shell.path, env=shell.env, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == f"sgs wait: t{drained}\n"
        shell.sgs("server", "resume")
        assert waiting.wait(BOUND_S) == 0
    assert "drained" not in shell.sgs("status") + shell.sgs()


def test_who_waits_is_told_that_no_server_can_begin(shell: Shell) -> None:
    shell.sgs("server", "stop")
    leases = shell.env["SGS_LEASE_DIR"]
    shell.env["SGS_LEASE_DIR"] = "/dev/null/none"
    shell.sgs("submit", "true")
    with subprocess.Popen(
        [SGS, "wait", "1"], cwd=shell.path, env=shell.env, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stderr is not None
        said = waiting.stderr.readline()
        assert said.startswith("sgs wait: the server can't be started: ")
        assert "; waiting until a server can start" in said
        shell.env["SGS_LEASE_DIR"] = leases
        shell.sgs("server", "start")
        assert waiting.wait(BOUND_S) == 0


def test_who_submits_is_told_that_no_server_can_begin(shell: Shell) -> None:
    shell.sgs("server", "stop")
    shell.env["SGS_LEASE_DIR"] = "/dev/null/none"
    done = subprocess.run(
        [SGS, "submit", "true"], cwd=shell.path, env=shell.env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "1\n")
    said = "sgs submit: the job is accepted, but no server runs: the server can't be started: "
    assert done.stderr.startswith(said)


def test_each_action_of_the_server_has_a_help_of_its_own(shell: Shell) -> None:
    options = {"start": "--placement", "status": "--json"}
    for action in ("status", "start", "stop", "drain", "resume", "unit"):
        text = shell.sgs("server", action, "--help")
        assert f"sgs server {action}" in text.partition("examples:")[2]
        assert [one for one in options.values() if one in text] == [
            *([options[action]] if action in options else [])
        ]
    assert "--gpus is for `sgs server start`" in shell.sgs(
        "server", "stop", "--gpus", "0", status=2
    )
    assert json.loads(shell.sgs("server", "--json", "status"))["pid"]


def test_a_queue_is_drained_though_no_server_can_begin(shell: Shell) -> None:
    shell.sgs("server", "stop")
    leases = shell.env["SGS_LEASE_DIR"]
    shell.env["SGS_LEASE_DIR"] = "/dev/null/none"
    shell.sgs("server", "drain")
    shell.env["SGS_LEASE_DIR"] = leases
    assert json.loads(shell.sgs("server", "status", "--json", status=1))["drained"]


def test_a_server_that_cannot_begin_is_tried_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is news itself: it writes to the server's log."""

    class Home:
        folder = str(tmp_path)
        woken = 0

        def server_pid(self) -> None:
            return None

        def wake(self) -> None:
            self.woken += 1

    home, looks = Home(), iter(range(100))
    now_s = iter(range(10**6))
    monkeypatch.setattr(queued_jobs.time, "monotonic", lambda: next(now_s) / 10)

    def is_over() -> bool:
        (tmp_path / "server.log").write_text("error\n")
        return next(looks, None) is None

    queued_jobs.wait_for_changes(home, is_over)  # type: ignore[arg-type]
    assert 1 < home.woken < 8


def test_what_no_server_can_keep_to_changes_nothing(shell: Shell) -> None:
    shell.sgs("submit", "--", "until [ -e go ]; do sleep 0.01; done")
    said = shell.sgs("server", "start", "--gpus", "0,1", "--keep-free", "2", status=1)
    assert "no GPU would ever be taken" in said
    assert said.endswith("; nothing is changed\n")
    assert shell.server() is not None
    (shell.path / "go").touch()
    assert shell.sgs("wait", "1") == ""
    shell.sgs("submit", "--gpus", "2", "true")
    assert shell.sgs("wait", "2") == ""


def test_old_words_of_a_server_are_not_told_again(shell: Shell) -> None:
    shell.sgs("server", "start", "--keep-free", "2", status=1)
    shell.sgs("submit", "--", "sleep", "60")
    pid = shell.server()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: shell.server() is None, "it is gone")
    assert shell.sgs("status").splitlines()[-1] == "No server runs (sgs server start)."


def test_the_socket_is_its_users_alone(shell: Shell) -> None:
    shell.sgs("submit", "--", "true")
    folder = json.loads(shell.sgs("server", "status", "--json"))["folder"]
    assert os.stat(f"{folder}/server.sock").st_mode & 0o777 == 0o600


def test_many_numbers_are_told_as_ranges(shell: Shell) -> None:
    shell.sgs("submit", "--hold", "--group", "lr", lines="true\n" * 8)
    assert shell.sgs("edit", "1-4", "6", "7", "--priority", "2") == "changed: 1-4, 6, 7\n"
    assert shell.sgs("release", "3") == "released: 3\n"
    shell.sgs("wait", "3")
    assert shell.sgs("cancel", "--group", "lr") == "cancelled: 1, 2, 4-8\n"


def test_killed_and_started_by_the_next_command(shell: Shell) -> None:
    shell.sgs("submit", "--", "until [ -e go ]; do sleep 0.01; done; exit 4")
    pid = shell.server()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with subprocess.Popen(
        [SGS, "wait", "1"], cwd=shell.path, env=shell.env, stderr=subprocess.PIPE
    ) as waiter:
        wait_until(lambda: shell.server() not in (None, pid), "there is another server")
        (shell.path / "go").touch()
        assert b"job 1 failed: exit 4" in waiter.communicate(timeout=BOUND_S)[1]
    assert waiter.returncode == 4


def test_a_server_that_is_just_being_killed_is_no_server(shell: Shell) -> None:
    """It still has the lock, and its socket takes the word that nobody will hear."""
    for job in range(1, 6):
        pid = shell.server()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        shell.sgs("submit", "--", "echo", "hallo")
        wait_until(
            lambda job=job: shell.objects("--all")[job - 1]["state"] == "succeeded", "it ran"
        )


def test_who_waits_starts_the_next_server(shell: Shell) -> None:
    shell.sgs("submit", "--", "echo up; until [ -e go ]; do sleep 0.01; done; exit 4")
    with subprocess.Popen(
        [SGS, "logs", "-f", "1"], cwd=shell.path, env=shell.env, stdout=subprocess.PIPE
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"up\n"
        pid = shell.server()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: shell.server() not in (None, pid), "there is another server")
        (shell.path / "go").touch()
        assert follower.wait(BOUND_S) == 0
    shell.sgs("wait", "1", status=4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["submit", "--gpus", "0", "true"],
            "--gpus: expected a number of GPUs, 1 or more, not '0'; GPU ids are set by: sgs",
        ),
        (["submit", "--after", "7", "true"], "--after names job 7, which does not exist"),
        (["submit", "--after", "x", "true"], "'x' is no job"),
        (["submit", "--vram", "10", "true"], "expected a size with its unit"),
        (["submit", "true # sgs: what=1"], "what"),
        (["wait"], "expected a job number"),
        (["wait", "7"], "there is no job 7"),
        (["logs", "7"], "there is no job 7"),
        (["cancel", "3-x"], "'3-x' is no job"),
        (["wait", "--group", "none"], "there is no job of the group 'none'"),
        (["server", "start", "--gpus", "0,0"], "names GPU 0 twice"),
        (["status", "--state", "odd"], "invalid choice"),
    ],
)
def test_what_is_wrong_is_said(shell: Shell, words: list[str], said: str) -> None:
    assert said in shell.sgs(*words, status=2)


def test_a_job_that_would_leave_too_few_gpus_to_others_says_so(shell: Shell) -> None:
    shell.sgs("server", "start", "--keep-free", "1")
    shell.sgs("submit", "--gpus", "2", "true")
    said = shell.sgs("wait", "1", status=1)
    assert "asks for 2 GPUs, but there is only 1 (1 to be kept free)" in said


def test_a_server_that_has_just_begun_is_stopped(shell: Shell) -> None:
    for _ in range(5):
        shell.sgs("server", "stop")
        shell.sgs("submit", "true")  # starts one, and doesn't wait for it
        assert shell.sgs("server", "stop") == "stopped\n"
        assert shell.server() is None
