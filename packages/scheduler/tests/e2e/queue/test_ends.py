"""How jobs of the queue end: whole trees, what they leave behind, who is told, who runs again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from process_state import is_alive
from queues import Queue
from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import Attempt, JobRequest
from simple_gpu_scheduler.queue.server import launchers
from simple_gpu_scheduler.queue.server.processes import JobTree, boot_id
from simple_gpu_scheduler.system.proc import start_ticks
from waiting import wait_until

#: A grandchild that left the session and its parent, and doesn't heed TERM.
STUBBORN = b"(trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ > stray; sleep 60' &) ; "
WAIT = b"while [ ! -e go ]; do sleep 0.01; done"


def pid_in(queue: Queue, name: str) -> int:
    path = queue.path / name
    wait_until(lambda: path.exists() and path.read_text().strip(), f"{name} is written")
    return int(path.read_text())


def cancel(queue: Queue, *jobs: int) -> None:
    queue.store.cancel(jobs, 1.0)
    call(str(queue.folder))


@pytest.mark.parametrize("killed", [(), ("server", "launcher")])
def test_a_stop_reaches_every_descendant(queue: Queue, killed: tuple[str, ...]) -> None:
    """TERM, the grace, KILL; and the GPU isn't free before the last of them is gone."""
    queue.store.set("gpus", "0")
    server = queue.start()
    job, other = queue.submit(STUBBORN + WAIT, b"kill -0 $(cat stray) && echo still there")
    stray = pid_in(queue, "stray")
    if "server" in killed:
        server.kill()
        server.wait()
    if "launcher" in killed:
        os.kill(queue.launchers()[0], signal.SIGKILL)
    if "server" in killed:
        queue.start()
    cancel(queue, job)
    first, second = queue.wait(job, other)
    assert first.state == "cancelled"
    assert (second.state, queue.log(other)) == ("failed", b"") or not is_alive(stray)
    assert not is_alive(stray)


def test_what_a_job_leaves_behind_is_told(queue: Queue) -> None:
    queue.start()
    named = b"until grep -q sleep /proc/$!/comm; do :; done"  # after the fork comes the exec
    (job,) = queue.submit(b"sleep 60 > /dev/null 2>&1 & echo $! > left; " + named)
    (end,) = queue.wait(job)
    left = pid_in(queue, "left")
    assert end.state == "succeeded"
    assert end.reason == f"left processes running: {left} (sleep)"
    assert is_alive(left)
    os.kill(left, signal.SIGKILL)


def test_what_a_job_leaves_behind_is_ended_by_choice(queue: Queue) -> None:
    queue.start()
    (job,) = queue.submit(JobRequest(STUBBORN + b"until [ -s stray ]; do :; done",
                                  kill_leftovers=True))  # fmt: skip
    (end,) = queue.wait(job)
    assert (end.state, end.exit_code) == ("succeeded", 0)
    assert not is_alive(pid_in(queue, "stray"))


def test_a_timeout_is_known_though_the_server_was_killed_meanwhile(queue: Queue) -> None:
    server = queue.start()
    (job,) = queue.submit(JobRequest(b"trap 'echo term; ' TERM; touch up; " + WAIT + b"; exit 3",
                                  timeout_s=0.3))  # fmt: skip
    wait_until(lambda: queue.log(job).endswith(b"term\n"), "it was told to end")
    server.kill()
    server.wait()
    (queue.path / "go").touch()
    wait_until(lambda: not queue.launchers(), "it has ended")
    queue.start()
    (end,) = queue.wait(job)
    assert (end.state, end.exit_code, end.reason) == ("failed", 3, "timed out")


def test_a_number_that_is_another_process_s_by_now_is_not_signalled(queue: Queue) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        ticks = start_ticks(other.pid)
        assert ticks is not None
        attempt = Attempt(1, 1, "l", (), 1.0, other.pid, ticks, boot_id())
        assert JobTree("mark", attempt).members() == ((other.pid, ticks),)
        assert JobTree("mark", attempt._replace(boot="another")).members() == ()
        before = JobTree("mark", attempt._replace(start_ticks=ticks - 1))
        assert before.members() == ()
        before.signal(signal.SIGKILL)
        assert other.poll() is None
        other.kill()


def test_a_job_that_is_lost_runs_again_by_choice(queue: Queue) -> None:
    server = queue.start()
    command = b"echo $SGS_ATTEMPT; [ $SGS_ATTEMPT = 2 ] || sleep 60"
    (job,) = queue.submit(JobRequest(command, requeue=True))
    wait_until(lambda: queue.log(job) and queue.store.running()[0][0].pid, "it runs")
    pid = queue.store.running()[0][0].pid
    assert pid is not None
    server.kill()
    server.wait()
    for victim in (*queue.launchers(), pid):
        os.kill(victim, signal.SIGKILL)
    queue.env["SGS_BOOT_ID"] = "another"
    queue.start()
    (end,) = queue.wait(job)
    assert (end.state, end.attempt) == ("succeeded", 2)
    assert queue.attempts()[0].reason == "the machine was restarted while it ran"


def test_who_wants_to_be_told_is_told_whatever_the_end(queue: Queue) -> None:
    about = b'"$SGS_JOB $SGS_STATE $SGS_EXIT_CODE $SGS_NAME $SGS_GROUP" "$SGS_LOG" "$SGS_COMMAND"'
    tell = b'printf "%s\\n" ' + about + b' > "told $SGS_JOB"'
    fails = JobRequest(b"exit 3 # '\xc3\xa4\"", notify=tell, name="a b", group="g", tries=2)
    killed = JobRequest(b"kill -9 $$", notify=tell)
    held = JobRequest(b"true", notify=tell, held=True)
    jobs = queue.submit(fails, killed, held)
    queue.start()
    queue.wait(*jobs[:2])
    cancel(queue, jobs[2])
    path = queue.path
    wait_until(lambda: all((path / f"told {job}").exists() for job in jobs), "all are told")
    wait_until(lambda: not queue.store.to_notify(), "that is written down")
    texts = [(path / f"told {job}").read_text() for job in jobs]
    assert texts[0] == f"1 failed 3 a b g\n{queue.folder}/logs/1.2.log\nexit 3 # 'ä\"\n"
    assert texts[1].splitlines()[0].strip() == "2 failed 137"
    assert texts[2].splitlines()[0].strip() == "3 cancelled"


def test_who_was_not_told_yet_is_told_by_the_next_server(queue: Queue) -> None:
    (job,) = queue.submit(JobRequest(b"true", held=True, notify=b"touch told"))
    cancel(queue, job)
    queue.start()
    wait_until(lambda: (queue.path / "told").exists(), "it is told")


def test_the_journal_of_a_launcher_that_ends_while_nothing_happens_goes(queue: Queue) -> None:
    queue.start()
    queue.wait(*queue.submit(b"true"))
    (launcher,) = queue.launchers()
    time.sleep(0.3)  # else the sync that is due would hide that nothing else removes it
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: not list(queue.folder.glob("*.journal")), "its journal is gone")


def test_a_launcher_that_has_done_enough_is_followed_by_another(
    queue: Queue, tmp_path: Path
) -> None:
    """Its last job runs on; its journal goes once all of it stands in the queue's file."""
    patch = f"import {launchers.__name__} as m; m._MOST_JOBS = 2"
    (tmp_path / "sitecustomize.py").write_text(patch)
    queue.env |= {"PYTHONPATH": str(tmp_path)}
    queue.start()
    (runs_on,) = queue.submit(WAIT)
    rest = queue.submit(*[b"true"] * 9)
    queue.wait(*rest)
    wait_until(lambda: len(queue.launchers()) <= 2, "those that are done are gone")
    (queue.path / "go").touch()
    assert [one.state for one in queue.wait(runs_on)] == ["succeeded"]
    wait_until(lambda: len(list(queue.folder.glob("*.journal"))) <= 1, "one journal is left")
