"""The queue's server and launchers in real processes, and what becomes of jobs at their death."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from queues import Queue
from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import OPEN_STATES, JobRequest
from waiting import wait_until


def test_jobs_run_as_their_submitter_would_have_run_them(queue: Queue) -> None:
    queue.start()
    (job,) = queue.submit(b"pwd; umask; echo $CUDA_VISIBLE_DEVICES $SGS_JOB; cat; echo \xff >&2")
    (entry,) = queue.wait(job)
    assert (entry.state, entry.exit_code, entry.gpu_names) == ("succeeded", 0, ("0",))
    expected = f"{queue.path}\n0022\n0 {job}\n".encode() + b"\xff\n"
    assert queue.log(job) == expected


def test_nobody_else_reads_or_calls(queue: Queue) -> None:
    old_umask = os.umask(0)
    try:
        queue.start()
        queue.wait(*queue.submit(b"echo secret"))
    finally:
        os.umask(old_umask)
    modes = {one.suffix: one.stat().st_mode & 0o777 for one in queue.folder.iterdir()}
    assert queue.folder.stat().st_mode & 0o777 == 0o700
    assert modes[".sock"] == modes[".sqlite3"] == modes[".journal"] == 0o600
    assert (queue.folder / "logs/1.1.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("command", "state", "code", "number"),
    [
        (b"exit 7", "failed", 7, None),
        (b"kill -9 $$", "failed", None, 9),
        (b"kill -TERM $$", "failed", None, 15),
        (b"true", "succeeded", 0, None),
    ],
)
def test_how_a_job_ended_is_known(
    queue: Queue, command: bytes, state: str, code: int | None, number: int | None
) -> None:
    queue.start()
    (entry,) = queue.wait(*queue.submit(command))
    assert (entry.state, entry.exit_code, entry.signal) == (state, code, number)


def test_a_folder_that_is_gone_fails_the_job_alone(queue: Queue) -> None:
    queue.start()
    gone = queue.context._replace(cwd=b"/no/such/folder")
    job = queue.store.submit(gone, [JobRequest(b"true")], time.time())[0].id
    (other,) = queue.submit(b"true")
    first, second = queue.wait(job, other)
    assert (first.state, first.reason) == ("failed", "can't be started: No such file or directory")
    assert second.state == "succeeded"


def test_several_gpus_priority_and_needs(queue: Queue) -> None:
    write = b"echo $SGS_JOB >> order; sleep 0.02"
    a, b = queue.submit(JobRequest(write, gpus=4), JobRequest(write, gpus=4, priority=1))
    (c,) = queue.submit(JobRequest(b"echo $CUDA_VISIBLE_DEVICES", gpus=2, after=(a,)))
    queue.start()
    queue.wait(a, b, c)
    assert (queue.path / "order").read_text().split() == [str(b), str(a)]
    assert queue.log(c) == b"0,1\n"


def test_a_timeout_ends_the_tree_and_a_failed_job_runs_again(queue: Queue) -> None:
    queue.start()
    late = JobRequest(b"sleep 50 & wait", timeout_s=0.2)
    again = JobRequest(b"echo try; [ $SGS_ATTEMPT = 3 ]", tries=5)
    first, second = queue.wait(*queue.submit(late, again))
    assert (first.state, first.signal, first.reason) == ("failed", signal.SIGTERM, "timed out")
    assert (second.state, second.attempt) == ("succeeded", 3)


def test_cancel_ends_what_runs_and_what_waits(queue: Queue) -> None:
    queue.start()
    (runs,) = queue.submit(JobRequest(b"echo up; exec sleep 50", gpus=4))
    (waits,) = queue.submit(b"true")
    wait_until(lambda: queue.entry(runs).state == "running" and queue.log(runs), "it runs")
    queue.store.cancel([runs, waits], time.time())
    call(str(queue.folder))
    assert [one.state for one in queue.wait(runs, waits)] == ["cancelled", "cancelled"]


def test_a_job_that_is_to_start_later_starts_then(queue: Queue) -> None:
    queue.start()
    at_s = time.time() + 0.5
    (entry,) = queue.wait(*queue.submit(JobRequest(b"true", not_before_s=at_s)))
    assert entry.started_s is not None
    assert entry.started_s >= at_s


def test_the_true_exit_status_though_the_server_was_dead(queue: Queue) -> None:
    server = queue.start()
    (job,) = queue.submit(b"echo up; while [ ! -e go ]; do sleep 0.01; done; exit 5")
    wait_until(lambda: queue.entry(job).state == "running" and queue.log(job), "it runs")
    server.kill()
    server.wait()
    (queue.path / "go").touch()
    wait_until(lambda: not queue.launchers(), "the launcher has done its last job")
    queue.start()
    (entry,) = queue.wait(job)
    assert (entry.state, entry.exit_code, entry.attempt) == ("failed", 5, 1)


def test_a_server_goes_on_with_jobs_that_run(queue: Queue) -> None:
    server = queue.start()
    (job,) = queue.submit(JobRequest(b"echo up; while [ ! -e go ]; do sleep 0.01; done", gpus=4))
    wait_until(lambda: queue.entry(job).state == "running" and queue.log(job), "it runs")
    server.kill()
    server.wait()
    queue.start()
    (other,) = queue.submit(b"true")
    time.sleep(0.3)  # gives it the chance to be wrong: the GPUs are the first job's
    assert (queue.entry(job).state, queue.entry(other).state) == ("running", "queued")
    (queue.path / "go").touch()
    assert [one.state for one in queue.wait(job, other)] == ["succeeded", "succeeded"]
    assert queue.log(job) == b"up\n"


def test_a_killed_launcher_s_jobs_come_to_the_server(queue: Queue) -> None:
    queue.start()
    (job,) = queue.submit(b"echo up; while [ ! -e go ]; do sleep 0.01; done; exit 5")
    wait_until(lambda: queue.entry(job).state == "running" and queue.log(job), "it runs")
    (launcher,) = queue.launchers()
    os.kill(launcher, signal.SIGKILL)
    (other,) = queue.submit(b"true")
    queue.wait(other)
    (queue.path / "go").touch()
    (entry,) = queue.wait(job)
    assert (entry.state, entry.exit_code) == ("failed", 5)


def test_after_a_restart_of_the_machine_what_ran_is_lost_and_the_rest_runs(queue: Queue) -> None:
    server = queue.start()
    (job,) = queue.submit(JobRequest(b"echo up; exec sleep 60", gpus=4))
    (other,) = queue.submit(b"true")
    wait_until(lambda: queue.entry(job).state == "running" and queue.log(job), "it runs")
    wait_until(lambda: queue.store.running()[0][0].pid, "that is written down")
    server.kill()
    server.wait()
    pid = queue.store.running()[0][0].pid
    assert pid is not None
    for victim in (*queue.launchers(), pid):
        os.kill(victim, signal.SIGKILL)
    queue.env["SGS_BOOT_ID"] = "another"
    queue.start()
    first, second = queue.wait(job, other)
    assert (first.state, first.reason) == ("lost", "the machine was restarted while it ran")
    assert second.state == "succeeded"


def test_one_server_a_queue_and_it_ends_when_told(queue: Queue) -> None:
    first = queue.start()
    (job,) = queue.submit(b"true")
    queue.wait(job)
    second = queue.start()
    assert second.wait(60) == 0
    assert first.poll() is None
    call(str(queue.folder), b"stop")
    assert first.wait(60) == 0
    assert not call(str(queue.folder))


@pytest.mark.parametrize("seed", range(3))
def test_whoever_is_killed_nothing_is_lost_twice_or_wrong(queue: Queue, seed: int) -> None:
    """Server and launchers are killed at random; who observes is the jobs themselves."""
    rng = random.Random(seed)
    jobs = 120
    command = b"echo $SGS_JOB.$SGS_ATTEMPT $CUDA_VISIBLE_DEVICES >> begun; sleep 0.0%d; exit %d"
    asked = [JobRequest(command % (rng.randrange(9), number % 4)) for number in range(jobs)]
    submitted = queue.submit(*asked)
    queue.start()
    kills = 0
    until_s = time.monotonic() + 120
    while any(state in OPEN_STATES for state in queue.store.counts()):
        assert time.monotonic() < until_s, "it never ends"
        time.sleep(rng.uniform(0.0, 0.15))  # the pace of the killing, nothing is waited for
        assert queue.server is not None
        if queue.server.poll() is not None:
            queue.start()
        elif kills < 25:
            victims = [queue.server.pid, *queue.launchers()]
            try:
                os.kill(rng.choice(victims), signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
    begun = [line.split()[0] for line in (queue.path / "begun").read_text().splitlines()]
    assert len(begun) == len(set(begun)), "no attempt was started twice"
    entries = queue.store.entries()
    assert [one.id for one in entries] == submitted, "no job is lost"
    for number, entry in enumerate(entries):
        if entry.state != "lost":
            assert (entry.state, entry.exit_code) == (
                ("succeeded", 0) if number % 4 == 0 else ("failed", number % 4)
            )
    assert {int(one.split(".")[0]) for one in begun} >= {
        one.id for one in entries if one.state != "lost"
    }
    assert kills > 5
    assert sum(one.state == "lost" for one in entries) < jobs / 4
