"""`sgs status`: what it shows of a long queue, how it fits a terminal, and how it is watched."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from queues import SGS, Shell
from simple_gpu_scheduler.text.terminal import text_width
from terminal import Terminal, screens
from waiting import BOUND_S


def test_of_a_long_queue_the_first_and_the_last_are_shown(shell: Shell) -> None:
    shell.sgs("server", "drain")
    shell.sgs("submit", lines="".join(f"echo {n}\n" for n in range(1, 61)))
    shell.sgs("submit", "--priority", "1", "--", "echo first")
    lines = shell.sgs("status").splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "61", *map(str, range(1, 20)), "...", *map(str, range(56, 61)), "61", "The"
    ]  # fmt: skip
    assert lines[21] == "... 36 more between these (--limit N, --all)"
    assert lines[-2] == "61 queued"
    assert len(shell.sgs("status", "--limit", "3").splitlines()) == 7
    assert len(shell.sgs("status", "--limit", "99").splitlines()) == 64
    assert len(shell.sgs("status", "--all").splitlines()) == 64
    assert [one["id"] for one in shell.objects()] == list(range(1, 62))
    assert [one["id"] for one in shell.objects("--limit", "2")] == [1, 61]
    assert shell.sgs("status", "--limit", "0").splitlines()[-3].startswith("... 61 more")


def test_filters_are_combined(shell: Shell) -> None:
    for group, name, command in (
        ("a", "n", "true"),
        ("a", "m", "false"),
        ("b b", "n", "false"),
        ("", "n", "false"),
        ("new\nline", "'\"", "true"),
    ):
        shell.sgs("submit", "--group", group, "--name", name, command)
    shell.sgs("wait", "1-5", status=1)

    def ids(*words: str) -> list[object]:
        return [one["id"] for one in shell.objects("--all", *words)]

    assert ids("--group", "a") == [1, 2]
    assert ids("--group", "a", "--group", "b b") == [1, 2, 3]
    assert ids("--group", "a", "--group", "b b", "--name", "n") == [1, 3]
    assert ids("--group", "a", "--group", "b b", "--name", "n", "--state", "failed") == [3]
    assert ids("--state", "failed", "--state", "succeeded", "--name", "m", "--name", "'\"") == [
        2, 5
    ]  # fmt: skip
    assert ids("--group", "new\nline") == [5]
    assert ids("--group", "none") == []
    assert "new\\nline" in shell.sgs("status", "--all")
    assert shell.sgs("status", "--group", "a") == "1 succeeded, 1 failed\n"
    assert shell.sgs("status", "--state", "queued", "--name", "m") == "1 failed\n"
    assert shell.sgs("status", "--group", "none") == "There is no such job.\n"


def test_the_limit_holds_for_those_that_have_ended(shell: Shell) -> None:
    shell.sgs("submit", lines="true\n" * 5)
    shell.sgs("wait", "1-5")
    lines = shell.sgs("status", "--state", "succeeded", "--limit", "2").splitlines()
    assert lines[1] == "... 3 more before these (--limit N, --all)"
    assert [line.split()[0] for line in lines[2:4]] == ["4", "5"]


def watch(shell: Shell, *words: str, size: tuple[int, int] = (12, 60)) -> Terminal:
    return Terminal([str(SGS), "status", "--watch", *words], shell.env, shell.path, size)


def test_on_a_terminal_it_is_drawn_anew_as_things_change(shell: Shell) -> None:
    shell.sgs("submit", "--", "until [ -e go ]; do sleep 0.01; done # " + "x" * 100)
    with watch(shell) as terminal:
        terminal.wait_for("running")
        shell.sgs("submit", "--hold", "--name", "é\n", "true")
        terminal.wait_for("1 held, 1 running")
        for screen in screens(terminal.shown):
            assert [line for line in screen if text_width(line) > 60] == []
        terminal.forget()
        (shell.path / "go").touch()
        terminal.wait_for("1 held, 1 succeeded")
        terminal.type(b"xq")
        assert terminal.end() == 0
        assert terminal.settings_now() == terminal.settings
        assert terminal.shown.index("\x1b[?1049l") < terminal.shown.rindex("1 held")


def test_the_running_times_go_on(shell: Shell) -> None:
    shell.sgs("submit", "--", "until [ -e go ]; do sleep 0.01; done")
    with watch(shell) as terminal:
        terminal.wait_for("running")
        terminal.wait_for(" 3s ")
        terminal.type(b"\x03")
        assert terminal.end() == 130
        assert terminal.settings_now() == terminal.settings
    (shell.path / "go").touch()


def test_it_follows_the_size_of_the_terminal(shell: Shell) -> None:
    shell.sgs("server", "drain")
    shell.sgs("submit", lines=("echo " + "y" * 200 + "\n") * 40)
    with watch(shell, size=(10, 50)) as terminal:
        terminal.wait_for("40 queued")
        screen = screens(terminal.shown)[-1]
        assert len(screen) <= 10
        assert max(map(text_width, screen)) == 50
        terminal.forget()
        terminal.resize(20, 90)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.wait_for("40 queued")
        screen = screens(terminal.shown)[-1]
        assert 10 < len(screen) <= 20
        assert max(map(text_width, screen)) == 90
        terminal.process.terminate()
        assert terminal.end() == 128 + signal.SIGTERM
        assert terminal.settings_now() == terminal.settings
        assert "\x1b[?1049l" in terminal.shown


class Piped:
    """`sgs status --watch` into a pipe; a context manager, which ends it if need be."""

    def __init__(self, shell: Shell, *words: str) -> None:
        self.process = subprocess.Popen(
            [SGS, "status", "--watch", *words], cwd=shell.path, env=shell.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.stdout = self.process.stdout
        self._bound = threading.Timer(BOUND_S, self.process.kill)

    def __enter__(self) -> Piped:
        self._bound.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bound.cancel()
        self.process.kill()
        self.process.wait()
        self.stdout.close()
        assert self.process.stderr is not None
        assert self.process.stderr.read() == ""
        self.process.stderr.close()

    def lines_to(self, pattern: str) -> list[str]:
        """All lines up to one like that."""
        found = []
        for line in self.stdout:
            found.append(line.rstrip("\n"))
            if re.search(pattern, line):
                return found
        raise AssertionError(f"no {pattern!r} in {found}")

    def interrupt(self) -> int:
        """^C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(BOUND_S)


def test_in_a_pipe_each_change_is_a_table_after_a_blank_line(shell: Shell) -> None:
    with Piped(shell, "--all") as piped:
        assert piped.lines_to("empty") == ["The queue is empty."]
        shell.sgs("submit", "--hold", "true")
        assert piped.lines_to("1 held$") == [
            *["", "ID  state  GPUs  time  command"],
            *["1   held   (1)   -     true", "1 held"],
        ]
        shell.sgs("release", "1")
        lines = piped.lines_to("1 succeeded$")
        assert lines[0] == ""
        assert "\x1b" not in "".join(lines)
        assert piped.interrupt() == 130


def test_json_is_a_list_a_line(shell: Shell) -> None:
    with Piped(shell, "--json", "--all") as piped:
        assert json.loads(piped.lines_to("")[0]) == []
        shell.sgs("submit", "--hold", "--", "echo \u00e9\n")
        (job,) = json.loads(piped.lines_to("")[0])
        assert (job["id"], job["state"], job["command"]) == (1, "held", "echo \u00e9\n")
        assert piped.interrupt() == 130


def test_it_ends_when_nobody_reads_on(shell: Shell) -> None:
    with Piped(shell) as piped:
        piped.lines_to("empty")
        piped.stdout.close()
        assert piped.process.wait(BOUND_S) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--limit", "x"], "expected a number of jobs, not 'x'"),
        (["--limit", "-1"], "--limit"),
        (["--state", "odd"], "invalid choice"),
        (["7"], "unrecognized arguments: 7"),
    ],
)
def test_what_is_wrong_is_said(shell: Shell, words: list[str], said: str) -> None:
    assert said in shell.sgs("status", *words, status=2)


def test_a_queue_that_has_no_server_says_so(shell: Shell, tmp_path: Path) -> None:
    shell.sgs("server", "stop")
    assert shell.sgs("status") == "The queue is empty.\n"
    shell.sgs("server", "drain")
    shell.sgs("submit", "true")
    shell.sgs("server", "stop")
    assert shell.sgs("status").splitlines()[-1].startswith("No server runs")
