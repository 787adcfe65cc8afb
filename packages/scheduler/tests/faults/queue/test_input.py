"""Whatever the queue's commands are given: an answer in words, an exit status, no traceback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from queues import SGS, Shell
from waiting import BOUND_S, wait_until

#: No numbers of jobs, or of none that there are.
ODD_IDS = [
    "-1", "0", "1-", "3-1", "\u0663", "\u00b2", "1.5", "9" * 30, "1-999999999999", "9" * 5000,
    "\n", "\udcff", str(2**63), "",
]  # fmt: skip


def run(shell: Shell, words: str, **env: str) -> tuple[int, str]:
    """A line of a shell; returns its exit status, and what it prints."""
    line = words.replace("sgs ", f"{shlex.quote(str(SGS))} ")
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=shell.path, env={**shell.env, **env}, timeout=BOUND_S,
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert "Traceback" not in text
    return done.returncode, text


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A queue without a server."""
    shell = Shell(tmp_path_factory.mktemp("queue"))
    shell.sgs("submit", "--hold", "--", "true")
    shell.sgs("server", "stop")
    return shell


@pytest.mark.parametrize(
    "command",
    ["cancel", "hold", "release", "retry", "wait", "logs", "edit --priority 1", "submit --after"],
)
def test_numbers_of_no_jobs(quiet: Shell, command: str) -> None:
    odd = ODD_IDS if command == "cancel" else ODD_IDS[::6]
    for one in odd:
        words = [*command.split(), one, *(["--", "true"] if command.startswith("submit") else [])]
        text = quiet.sgs(*words, status=2)
        assert text.startswith("sgs: error: ")
        assert len(text) < 10_000
    assert [one["state"] for one in quiet.objects()] == ["held"]


@pytest.mark.parametrize("option", ["--priority", "--gpus", "--retries"])
def test_numbers_that_are_none(quiet: Shell, option: str) -> None:
    for one in (str(2**63), ""):
        assert quiet.sgs("submit", option, one, "--", "true", status=2)
        assert quiet.sgs("edit", "1", option, one, status=2)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full"])
def test_standard_files_that_are_closed_or_full(quiet: Shell, closed: str) -> None:
    before = len(quiet.objects("--all"))
    status, text = run(quiet, f"sgs submit --hold -- true {closed}")
    assert len(quiet.objects("--all")) == before + 1
    full = closed == ">/dev/full"
    assert status == int(full)
    assert ("accepted are the jobs" in text) == full
    run(quiet, f"sgs status {closed}")
    status, _ = run(quiet, f"sgs submit {closed} <&-")
    assert (status, len(quiet.objects("--all"))) == (1, before + 1)


def test_a_reader_that_has_seen_enough(quiet: Shell) -> None:
    before = len(quiet.objects("--all"))
    status, _ = run(quiet, "yes 'echo é' | head -n 3000 | sgs submit --hold | head -n 1")
    assert status == 0
    assert len(quiet.objects("--all")) == before + 3000
    assert run(quiet, "sgs status --all | head -n 1") == (0, "ID    state  GPUs  time  command\n")


def test_odd_places_for_the_state(quiet: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file" / "below", "/proc/none", tmp_path / ("x" * 300)):
        for words in ("sgs status", "sgs submit -- true"):
            status, text = run(quiet, words, SGS_STATE_DIR=str(bad))
            assert status == 1
            assert "the queue can't be kept: " in text
            assert "name another directory by SGS_STATE_DIR" in text
    for good in ("here", f"{tmp_path}/a\nb 'é'", str(tmp_path / ("long" * 40))):
        status, text = run(quiet, "sgs server start --gpus 0", SGS_STATE_DIR=good)
        assert (status, text) == (0, "")
        assert run(quiet, "sgs submit -- exit 3", SGS_STATE_DIR=good) == (0, "1\n")
        assert run(quiet, "sgs wait 1", SGS_STATE_DIR=good)[0] == 3
        assert run(quiet, "sgs server stop", SGS_STATE_DIR=good) == (0, "stopped\n")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")
def test_places_that_are_others_or_can_t_be_written(quiet: Shell, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs" / "queue" / os.uname().nodename
    theirs.mkdir(parents=True)
    os.chown(theirs, 61001, 61001)
    status, text = run(quiet, "sgs submit -- true", SGS_STATE_DIR=str(tmp_path / "theirs"))
    assert status == 1
    assert f"{theirs} belongs to 61001" in text
    mine = tmp_path / "mine"
    mine.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mine], check=True)
    try:
        place = {"SGS_STATE_DIR": str(mine)}
        assert run(quiet, "sgs submit --hold -- true", **place)[0] == 0
        run(quiet, "sgs server stop", **place)
        read_only = ["mount", "-o", "remount,ro", mine]
        quietly = {"stderr": subprocess.DEVNULL}
        wait_until(lambda: not subprocess.call(read_only, **quietly), "nobody writes there")
        for words in ("sgs submit -- true", "sgs cancel 1", "sgs server start --gpus 0"):
            status, text = run(quiet, words, **place)
            assert status == 1
            assert "sgs: error: the queue's file " in text
    finally:
        subprocess.run(["umount", "-l", mine], check=True)


def test_twenty_submitters_at_once(shell: Shell) -> None:
    """Each has its numbers, and nobody has another's; all of it runs."""
    server = shell.server()
    assert server is not None
    os.kill(server, signal.SIGKILL)  # each of them may start another one
    lines = "".join(f"echo {n}\n" for n in range(10))
    clients = [
        subprocess.Popen(
            [SGS, "submit", "--jobs-per-gpu", "16"], env=shell.env, cwd=shell.path, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(20)
    ]  # fmt: skip
    for client in clients:
        assert client.stdin is not None
        client.stdin.write(lines)
        client.stdin.close()
        client.stdin = None
    told = [client.communicate(timeout=BOUND_S) for client in clients]
    assert [(client.returncode, err) for client, (_, err) in zip(clients, told, strict=True)] == [
        (0, "")
    ] * 20
    ids = [[int(one) for one in out.split()] for out, _ in told]
    assert all(one == list(range(one[0], one[0] + 10)) for one in ids)
    assert sorted(n for one in ids for n in one) == list(range(1, 201))
    shell.sgs("wait", "1-200")
    wait_until(lambda: shell.server() is not None, "one of them has started a server")
