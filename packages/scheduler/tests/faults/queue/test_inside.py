"""Jobs that use the queue themselves, and what they leave: nobody else's processes are theirs."""

from __future__ import annotations

import os
import signal

from queues import SGS, Shell
from waiting import wait_until


def test_a_server_that_a_job_has_started_is_no_part_of_that_job(shell: Shell) -> None:
    """Else whoever cancels the job ends the launcher and all that it has started."""
    shell.sgs("server", "start", "--gpus", "0,1,2")
    again = f"until [ -e dead ]; do sleep 0.02; done; {SGS} submit -- 'echo > up; sleep 1; exit 3'"
    shell.sgs("submit", "--", f"{again}; touch told; sleep 60")
    wait_until(lambda: shell.objects("--state", "running"), "it runs")
    server = shell.server()
    assert server is not None
    os.kill(server, signal.SIGKILL)
    (shell.path / "dead").touch()
    wait_until((shell.path / "up").exists, "the job of the job runs")
    wait_until((shell.path / "told").exists, "it was told the number")
    assert shell.server() not in (None, server)
    shell.sgs("cancel", "1")
    shell.sgs("wait", "1", "2", status=1)
    ends = [(one["state"], one["exit_code"]) for one in shell.objects("--all")]
    assert ends == [("cancelled", None), ("failed", 3)]


def test_nor_is_one_that_a_job_has_started_while_it_waits(shell: Shell) -> None:
    shell.sgs("server", "start", "--gpus", "0,1,2")
    shell.sgs("submit", "--", "until [ -e go ]; do sleep 0.02; done; exit 4")
    shell.sgs("submit", "--", f"{SGS} wait 1")
    wait_until(lambda: len(shell.objects("--state", "running")) == 2, "they run")
    server = shell.server()
    assert server is not None
    os.kill(server, signal.SIGKILL)
    ((folder,),) = [(shell.path.parent / "state" / "queue").iterdir()]
    wait_until(
        lambda: (folder / "news").touch() or shell.server() not in (None, server), "another"
    )
    shell.sgs("submit", "--", "echo > up; until [ -e go ]; do sleep 0.02; done; exit 5")
    wait_until((shell.path / "up").exists, "its launcher has started a job")
    shell.sgs("cancel", "2")
    shell.sgs("wait", "2", status=128 + signal.SIGTERM)
    (shell.path / "go").touch()
    shell.sgs("wait", "1", "3", status=1)
    ends = [(one["state"], one["exit_code"]) for one in shell.objects("--all")]
    assert ends == [("failed", 4), ("cancelled", None), ("failed", 5)]
