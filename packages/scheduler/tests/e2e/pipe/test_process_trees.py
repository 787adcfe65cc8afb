"""A job is its whole process tree: --timeout, --grace, and what jobs leave behind."""

import signal

import pytest

#: Says whether the process of `pids` is gone; a zombie, whom nobody reaped yet, is.
CHECK = (
    "case $(cut -d ' ' -f 3 /proc/$(cat pids)/stat 2> /dev/null) in"
    " ''|Z|X) echo gone ;; *) echo alive ;; esac"
)


def _rows(box):
    return [(row[0], row[6], row[7]) for row in (r.split("\t") for r in box.read("log")[1:])]


def test_a_timed_out_job_is_ended_and_logged_as_by_gnu_parallel(box):
    result = box.run(["sleep 1000"], "--gpus", "0", "--timeout", "0.2", "--joblog", "log")
    assert result.status == 1
    assert result.said[0] == "job 1 timed out after 0.2 s"
    assert result.said[-1] == "1 of 1 job failed"
    assert _rows(box) == [("1", "-1", "15")]


def test_a_timeout_while_other_jobs_wait(box):
    lines = ["echo a >> got; sleep 1000", "echo b >> got", "echo c >> got; sleep 1000"]
    run = box.start("--gpus", "0", "--timeout", "0.2", "--joblog", "log")
    run.write("".join(f"{line}\n" for line in lines))
    box.wait_lines("got", 3)
    assert run.ended().status == 1
    assert _rows(box) == [("1", "-1", "15"), ("2", "0", "0"), ("3", "-1", "15")]


def test_a_timeout_by_directive_while_stdin_stays_open(box):
    run = box.start("--gpus", "0,1")
    run.write("sleep 1000 # sgs: timeout=0.2s\n")
    run.wait_err("job 1 timed out after 0.2 s")
    run.wait_err("was ended by SIGTERM")
    assert run.ended().status == 1


@pytest.mark.parametrize("waiting", [0, 1], ids=["alone", "while another waits"])
def test_a_timed_out_job_that_ignores_term_is_killed_after_the_grace(box, waiting):
    options = ["--timeout", "0.1", "--grace", "0.1", "--joblog", "log"]
    lines = ["trap '' TERM; while :; do sleep 0.01; done"] + ["true"] * waiting
    result = box.run(lines, "--gpus", "0", *options)
    assert result.status == 1
    assert "job 1 timed out after 0.1 s" in result.said
    assert "was ended by SIGKILL" in result.err
    assert _rows(box)[0] == ("1", "-1", "9")


def test_a_timed_out_job_that_exits_cleanly_has_failed_all_the_same(box):
    lines = ["trap 'exit 0' TERM; while :; do sleep 0.01; done"]
    options = ["--timeout", "0.1", "--joblog", "log"]
    result = box.run(lines, "--gpus", "0", *options)
    assert result.status == 1
    assert _rows(box)[0][:2] == ("1", "-1")
    again = box.run(["echo again"], "--gpus", "0", "--joblog", "log", "--resume-failed")
    assert again.out == "again\n"


@pytest.mark.parametrize(
    "tree",
    [
        "sleep 1000 & echo $! >> pids; wait",
        "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & wait",
        "setsid sh -c '(setsid sh -c \"echo \\$\\$ >> pids; exec sleep 1000\" &)'; sleep 1000",
        "sh -c 'echo $$ >> pids; kill -STOP $$; sleep 1000'; sleep 1000",
        "trap '' TERM; setsid sh -c 'echo $$ >> pids; while :; do sleep 0.01; done' & wait",
    ],
)
def test_a_timeout_ends_the_whole_tree_before_the_gpu_is_given_on(box, tree, is_alive):
    options = ["--gpus", "0", "--timeout", "0.3", "--grace", "0.3"]
    result = box.run([tree, CHECK], *options)
    (pid,) = box.wait_pids("pids")
    assert result.out == "gone\n"
    assert not is_alive(pid)
    assert box.processes() == []


def test_a_timed_out_job_runs_again(box):
    command = "echo x >> ran; sleep 1000"
    options = ["--gpus", "0", "--timeout", "0.1", "--retries", "3"]
    assert box.run([command], *options).status == 1
    assert len(box.read("ran")) == 3


def test_a_timeout_of_one_job_leaves_the_others_alone(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1")
    run.write(f"{gate.wait}; echo fine\nsleep 1000 # sgs: timeout=0.1\n")
    run.wait_err("timed out")
    run.wait_err("was ended by SIGTERM")
    gate.open()
    result = run.ended()
    assert (result.status, result.out) == (1, "fine\n")


# What a job leaves behind


def test_leftovers_are_reported_and_left_alone(box, is_alive):
    named = "until grep -q sleep /proc/$!/comm; do :; done"  # after the fork comes the exec
    result = box.run([f"sleep 1000 & echo $! >> pids; {named}", "true"], "--gpus", "0")
    (pid,) = box.wait_pids("pids")
    assert f"job 1 left processes running: {pid} (sleep)" in result.said
    assert result.status == 0
    assert is_alive(pid)


def test_leftovers_in_a_session_of_their_own_are_reported(box):
    job = "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & while [ ! -s pids ]; do :; done"
    result = box.run([job], "--gpus", "0")
    (pid,) = box.wait_pids("pids")
    assert f"job 1 left processes running: {pid} (s" in result.err


@pytest.mark.parametrize(
    "job",
    [
        "sleep 1000 & echo $! >> pids",
        "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & while [ ! -s pids ]; do :; done",
        "nohup setsid sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do sleep 0.01; done'"
        " > /dev/null 2>&1 & while [ ! -s pids ]; do :; done",
    ],
)
def test_kill_leftovers_ends_them_before_the_gpu_is_given_on(box, job, is_alive):
    options = ["--gpus", "0", "--kill-leftovers", "--grace", "0.2", "--joblog", "log"]
    result = box.run([job, CHECK], *options)
    (pid,) = box.wait_pids("pids")
    assert (result.status, result.out) == (0, "gone\n")
    assert not is_alive(pid)
    assert "job 1 left processes running: " in result.err
    assert "ending them" in result.err
    assert [row[1:] for row in _rows(box)] == [("0", "0")] * 2


def test_kill_leftovers_keeps_the_failure_of_the_job(box):
    options = ["--gpus", "0", "--kill-leftovers", "--retries", "2", "--joblog", "log"]
    result = box.run(["echo x >> ran; sleep 1000 & exit 3"], *options)
    assert result.status == 1
    assert len(box.read("ran")) == 2
    assert _rows(box) == [("1", "3", "0")]
    assert box.processes() == []


def test_interrupted_while_it_ends_leftovers(box):
    options = ["--gpus", "0", "--kill-leftovers", "--grace", "1h", "--joblog", "log"]
    run = box.start(*options)
    run.write(
        "sh -c 'trap \"\" TERM; echo up >> up; while :; do sleep 0.01; done' &"
        " while [ ! -s up ]; do :; done\n"
    )
    run.wait_err("ending them")
    run.send(signal.SIGTERM)
    run.wait_err("SIGTERM: ending 1 job; one more kills them")
    run.send(signal.SIGINT)
    result = run.ended(end_input=False)
    assert result.status == 130
    assert box.processes() == []
    assert _rows(box) == [("1", "0", "0")]


# Death of the scheduler itself


def test_killed_it_takes_no_job_with_it(box, is_alive):
    gate = box.gate()
    run = box.start("--gpus", "0")
    run.write(f"echo $$ >> pids; {gate.wait}; echo finished >> got\n")
    (pid,) = box.wait_pids("pids")
    run.send(signal.SIGKILL)
    assert run.ended(end_input=False).status == -signal.SIGKILL
    assert is_alive(pid)
    gate.open()
    assert box.wait_lines("got", 1) == ["finished"]
