"""`sgs edit` and `sgs retry`: what changes, what stays, and what is refused as a whole."""

from __future__ import annotations

import pytest

from queues import Shell
from waiting import wait_until


def test_a_job_that_waits_is_changed(shell: Shell) -> None:
    shell.sgs("submit", "--hold", "--group", "a b", "--", "echo $CUDA_VISIBLE_DEVICES")
    shell.sgs("submit", "--hold", "--group", "a b", "--timeout", "1h", "true")
    assert shell.sgs("edit", "1", "--gpus", "2", "--name", "it's \n é") == "changed: 1\n"
    words = ["--priority", "-4", "--vram", "none", "--timeout", "none", "--retries", "3"]
    assert shell.sgs("edit", "--group", "a b", *words) == "changed: 1, 2\n"
    first, second = shell.objects()
    assert (first["gpus_asked"], first["name"], first["priority"]) == (2, "it's \n é", -4)
    assert (second["gpus_asked"], second["priority"]) == (1, -4)
    shell.sgs("edit", "2", "--after", "1", "--delay", "1h")
    shell.sgs("release", "1", "2")
    shell.sgs("wait", "1")
    assert shell.sgs("logs", "1") == "0,1\n"
    assert "queued" in shell.sgs("status")
    shell.sgs("edit", "2", "--at", "tomorrow 8:00")
    assert "contradicts" in shell.sgs("edit", "2", "--at", "now", "--delay", "1h", status=2)
    assert "--at 'soon'" in shell.sgs("edit", "2", "--at", "soon", status=2)
    shell.sgs("edit", "2", "--at", "now")
    shell.sgs("wait", "2")


def test_priorities_decide_who_is_next(shell: Shell) -> None:
    shell.sgs("server", "drain")
    shell.sgs("submit", "--gpus", "2", lines="".join(f"echo {n} >> order\n" for n in (1, 2, 3)))
    shell.sgs("edit", "3", "--priority", "1")
    shell.sgs("server", "resume")
    shell.sgs("wait", "1-3")
    assert (shell.path / "order").read_text().split() == ["3", "1", "2"]


def test_what_runs_or_has_ended_is_refused_and_nothing_is_changed(shell: Shell) -> None:
    shell.sgs("submit", "--", "until [ -e go ]; do sleep 0.01; done")
    shell.sgs("submit", "--hold", "true")
    wait_until(lambda: shell.objects()[0]["state"] == "running", "it runs")
    said = shell.sgs("edit", "2", "1", "--priority", "3", status=1)
    assert "job 1 runs, and a running job can't be changed; wait for its end, or cancel it" in said
    (shell.path / "go").touch()
    shell.sgs("wait", "1")
    said = shell.sgs("edit", "1", "2", "--priority", "3", status=1)
    assert "job 1 has ended (succeeded), and only waiting jobs can be changed" in said
    assert shell.objects()[0]["priority"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["1"], "no change is named"),
        (["--priority", "1"], "expected a job number"),
        (["7", "--priority", "1"], "there is no job 7"),
        (["1", "--priority", "high"], "--priority"),
        (
            ["1", "--gpus", "0"],
            "expected a number of GPUs, 1 to 4096, not '0'; GPU ids are set by",
        ),
        (["1", "--retries", "-1"], "--retries"),
        (["1", "--vram", "10"], "expected a size with its unit"),
        (["1", "--timeout", "soon"], "--timeout 'soon'"),
        (["1", "--delay", "soon"], "--delay 'soon'"),
        (["1", "--after", "9"], "--after names job 9, which does not exist; see sgs status --all"),
        (["1", "--after", "2"], "--after names job 2, which was cancelled"),
        (["1", "--after-any", "x"], "'x' is no job"),
        (["1", "--after", "1"], "jobs would wait for each other for ever: 1 for 1"),
        (["1", "--no-after", "--after", "2"], "--no-after contradicts --after"),
    ],
)
def test_what_is_wrong_is_said(shell: Shell, words: list[str], said: str) -> None:
    shell.sgs("submit", "--hold", lines="true\ntrue\n")
    shell.sgs("cancel", "2")
    assert said in shell.sgs("edit", *words, status=2)


def test_retry_takes_just_those_of_a_group_that_have_not_succeeded(shell: Shell) -> None:
    shell.sgs("submit", "--group", "g h", lines="true\n[ -e go ]\nsleep 60\n")
    shell.sgs("submit", "--group", "other", "--", "[ -e go ]")
    shell.sgs("submit", "--hold", "--group", "g h", "true")
    shell.sgs("cancel", "3")
    shell.sgs("wait", "1-4", status=1)
    assert shell.sgs("retry", "--all-failed", "--group", "other") == "queued again: 4\n"
    shell.sgs("wait", "4", status=1)
    (shell.path / "go").touch()
    assert shell.sgs("retry", "--group", "g h") == "queued again: 2, 3\n"
    shell.sgs("cancel", "3")
    shell.sgs("wait", "2")
    assert shell.sgs("retry", "--all-failed") == "queued again: 4\n"
    shell.sgs("wait", "4")
    assert shell.sgs("retry", "--all-failed", status=1).startswith("nothing to do")
    assert "expected no number beside it" in shell.sgs("retry", "--all-failed", "1", status=2)
    assert "expected a job number" in shell.sgs("retry", status=2)


def test_retried_together_they_wait_for_each_other_again(shell: Shell) -> None:
    shell.sgs("submit", "--", "[ -e go ]")
    shell.sgs("submit", "--after", "1", "--", "echo 2")
    shell.sgs("wait", "1", "2", status=1)
    shell.sgs("server", "drain")
    assert shell.sgs("retry", "1-2") == "queued again: 1, 2\n"
    assert "queued (waits for 1)" in shell.sgs("status")
    (shell.path / "go").touch()
    shell.sgs("server", "resume")
    shell.sgs("wait", "1", "2")
