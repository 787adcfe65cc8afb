"""The signal table of the pipe, in each phase of a run."""

import os
import signal

import pytest

NAMES = {signal.SIGINT: 130, signal.SIGHUP: 129, signal.SIGTERM: 143, signal.SIGQUIT: 131}


def _clean(result):
    assert "Traceback" not in result.err
    assert "Exception" not in result.err


@pytest.mark.parametrize("number", NAMES, ids=lambda n: n.name)
def test_before_the_first_line(box, number):
    run = box.start("--gpus", "0")
    run.wait_ready()
    run.send(number)
    result = run.ended(end_input=False)
    assert (result.status, result.err) == (NAMES[number], "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_the_first_one_reads_no_more_and_lets_jobs_finish(box, number):
    gate = box.gate()
    run = box.start("--gpus", "0,1", "--joblog", "log")
    run.write(f"{gate.wait}; echo done $SGS_SEQ\n" * 2 + "echo never >> never\n" * 3)
    run.wait_starts(2)
    run.send(number)
    run.wait_err("waiting for 2 jobs; a second one ends them")
    run.write("echo later >> never\n")
    gate.open(2)
    result = run.ended(end_input=False)
    assert result.status == NAMES[number]
    assert sorted(result.out.splitlines()) == ["done 1", "done 2"]
    assert box.read("never") == []
    assert [row.split("\t")[0] for row in box.read("log")[1:]] in (["1", "2"], ["2", "1"])
    assert result.said == [
        f"{number.name}: reading no more, waiting for 2 jobs; a second one ends them",
        "3 read but not started",
    ]
    _clean(result)


def test_a_job_that_fails_while_others_drain_runs_no_more(box):
    gate = box.gate()
    run = box.start("--gpus", "0", "--retries", "5", "--joblog", "log")
    run.write(f"echo >> ran; {gate.wait}; exit 7\n")
    box.wait_lines("ran", 1)
    run.send(signal.SIGINT)
    run.wait_err("a second one ends them")
    gate.open()
    result = run.ended(end_input=False)
    assert (result.status, len(box.read("ran"))) == (130, 1)
    assert box.read("log")[1].split("\t")[6] == "7"


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGHUP, signal.SIGHUP, 129),
        (signal.SIGINT, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGHUP, 129),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_second_one_ends_running_jobs(box, first, second, status, is_alive):
    gate = box.gate()
    run = box.start("--gpus", "0,1", "--joblog", "log", "--grace", "50")
    run.write(f"echo $$ >> pids; {gate.wait}; echo not finished\n" * 2)
    pids = box.wait_pids("pids", 2)
    run.send(first)
    run.wait_err("a second one ends them")
    run.send(second)
    result = run.ended(end_input=False)
    assert (result.status, result.out) == (status, "")
    assert not any(map(is_alive, pids))
    assert len(box.read("log")) == 1
    assert "2 ended before their time" in result.said
    _clean(result)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=lambda n: n.name)
def test_sigterm_and_sigquit_end_running_jobs_at_once(box, number, is_alive):
    gate = box.gate()
    run = box.start("--gpus", "0", "--grace", "50")
    run.write(f"echo $$ >> pids; {gate.wait}\ntouch never\n")
    (pid,) = box.wait_pids("pids")
    run.send(number)
    result = run.ended(end_input=False)
    assert result.status == NAMES[number]
    assert not is_alive(pid)
    assert not (box.path / "never").exists()
    _clean(result)


def test_a_job_that_tidies_up_on_term_is_let_finish(box):
    gate = box.gate()
    run = box.start("--gpus", "0", "--grace", "1h")
    run.write(
        f"trap 'echo tidying >> got; {gate.wait}; echo tidy >> got; exit 0' TERM;"
        f"echo up >> got; while :; do sleep 0.01; done\n"
    )
    box.wait_lines("got", 1)
    run.send(signal.SIGTERM)
    box.wait_lines("got", 2)
    gate.open()
    result = run.ended(end_input=False)
    assert result.status == 143
    assert box.read("got") == ["up", "tidying", "tidy"]


def test_the_shell_is_told_first_and_does_not_go_on(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1,2,3,4,5", "--grace", "1h")
    inner = f"(sh -c 'echo up >> up; {gate.wait}'; echo inner >> never); echo outer >> never"
    run.write(f"{inner}\n" * 6)
    box.wait_lines("up", 6)
    run.send(signal.SIGTERM)
    result = run.ended(end_input=False)
    assert (result.status, box.read("never")) == (143, [])
    assert result.err.count("was ended by SIGTERM") == 6


def test_a_job_that_ignores_term_is_killed_after_the_grace(box, is_alive):
    gate = box.gate()
    run = box.start("--gpus", "0", "--grace", "0.2")
    run.write(f"trap '' TERM; echo $$ >> pids; while :; do {gate.wait}; done\n")
    (pid,) = box.wait_pids("pids")
    run.send(signal.SIGTERM)
    result = run.ended(end_input=False)
    assert result.status == 143
    assert not is_alive(pid)
    _clean(result)


def test_the_third_one_kills_at_once(box, is_alive):
    gate = box.gate()
    run = box.start("--gpus", "0", "--grace", "1h")
    run.write(f"trap 'echo term >> heard' TERM; echo $$ >> pids; while :; do {gate.wait}; done\n")
    (pid,) = box.wait_pids("pids")
    run.send(signal.SIGINT)
    run.wait_err("a second one ends them")
    run.send(signal.SIGINT)
    box.wait_lines("heard", 1)
    run.send(signal.SIGINT)
    result = run.ended(end_input=False)
    assert result.status == 130
    assert not is_alive(pid)
    _clean(result)


def test_a_second_sigterm_kills_at_once(box, is_alive):
    gate = box.gate()
    run = box.start("--gpus", "0", "--grace", "1h")
    run.write(f"trap 'echo term >> heard' TERM; echo $$ >> pids; while :; do {gate.wait}; done\n")
    (pid,) = box.wait_pids("pids")
    run.send(signal.SIGTERM)
    box.wait_lines("heard", 1)
    run.send(signal.SIGTERM)
    assert run.ended(end_input=False).status == 143
    assert not is_alive(pid)


# Whole process trees. Each line leaves `sleep` processes whose ids it writes.

TREES = {
    "child": "sleep 1000 & echo $! >> pids; wait",
    "pipeline": "sleep 1000 | sleep 1000 & echo $! >> pids; wait",
    "own session": "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & wait",
    "nohup": "nohup sh -c 'echo $$ >> pids; exec sleep 1000' > /dev/null 2>&1 & wait",
    "forked twice": "setsid sh -c '(setsid sh -c \"echo \\$\\$ >> pids; exec sleep 1000\" &)';"
    " sleep 1000",
    "stopped": "sh -c 'echo $$ >> pids; kill -STOP $$; sleep 1000'; sleep 1000",
    "stops itself": "echo $$ >> pids; kill -STOP $$; sleep 1000",
    "another folder and a scrubbed environment": "env -i sh -c 'echo $$ >> pids; exec sleep 1000'"
    " & wait",
    "renamed": "exec -a ') R 1 2' sleep 1000 & echo $! >> pids; wait",
    "deaf to hangups": "trap '' HUP INT; echo $$ >> pids; sleep 1000",
}


@pytest.mark.parametrize("tree", TREES)
def test_no_process_of_a_job_survives_sigterm(box, tree, is_alive):
    run = box.start("--gpus", "0", "--grace", "1h", "--shell", "bash")
    run.write(f"{TREES[tree]}\n")
    (pid,) = box.wait_pids("pids")
    run.send(signal.SIGTERM)
    assert run.ended(end_input=False).status == 143
    assert not is_alive(pid)
    assert box.processes() == []


@pytest.mark.parametrize("tree", ["child", "own session", "forked twice"])
def test_no_process_of_a_job_survives_that_is_deaf_to_term(box, tree, is_alive):
    run = box.start("--gpus", "0", "--grace", "0.2", "--shell", "bash")
    run.write(f"trap '' TERM; {TREES[tree]}\n")
    (pid,) = box.wait_pids("pids")
    run.send(signal.SIGTERM)
    assert run.ended(end_input=False).status == 143
    assert not is_alive(pid)
    assert box.processes() == []


def test_other_jobs_of_the_machine_are_left_alone(box, is_alive):
    """The same command in another scheduler, of the same numbers."""
    gate = box.gate()
    others = box.start("--gpus", "0")
    run = box.start("--gpus", "1")
    others.write(f"echo $$ >> others; {gate.wait}\n")
    run.write(f"echo $$ >> ours; {gate.wait}\n")
    (other,) = box.wait_pids("others")
    (our,) = box.wait_pids("ours")
    run.send(signal.SIGTERM)
    assert run.ended().status == 143
    assert (is_alive(our), is_alive(other)) == (False, True)
    gate.open()
    assert others.ended().status == 0


# What was ignored when it was started stays so


def test_nohup_stays_in_force(box):
    gate = box.gate()
    run = box.start("--gpus", "0", ignore=[signal.SIGHUP])
    run.write(f"echo up >> got; {gate.wait}; echo one >> got\n")
    box.wait_lines("got", 1)
    run.send(signal.SIGHUP)
    run.write("echo two >> got\n")
    gate.open()
    assert box.wait_lines("got", 3) == ["up", "one", "two"]
    result = run.ended()
    assert (result.status, result.said) == (0, [])


def test_sigint_ignored_in_the_background_stays_ignored(box):
    run = box.start("--gpus", "0", ignore=[signal.SIGINT])
    run.wait_ready()
    run.send(signal.SIGINT)
    run.write("echo ran >> got\n")
    box.wait_lines("got", 1)
    assert run.ended().status == 0


def test_sigchld_ignored_by_the_parent_costs_no_exit_status(box):
    before = lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # noqa: E731
    result = box.run(["true", "exit 3"], "--gpus", "0", before=before)
    assert result.status == 1
    assert "job 2 failed with exit status 3" in result.err


def test_signals_blocked_by_the_parent(box):
    def before():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})

    run = box.start("--gpus", "0", before=before)
    run.write("true\necho second >> got\n")
    box.wait_lines("got", 1)
    assert run.ended().status == 0


def test_jobs_get_signals_as_a_fresh_program_expects_them(box):
    result = box.run(["cat /proc/self/status"], "--gpus", "0")
    fields = dict(line.split(":", 1) for line in result.out.splitlines())
    masks = [int(fields[name], 16) for name in ("SigIgn", "SigBlk", "SigCgt")]
    assert [mask & 0x7FFFFFFF for mask in masks] == [0, 0, 0]  # the C library has 32 and 33
    yes = box.run(["yes | head -1"], "--gpus", "0")
    assert (yes.out, "roken pipe" in yes.err) == ("y\n", False)


def test_a_signal_to_the_terminal_group_reaches_the_scheduler_only(box, is_alive):
    """^C goes to all of the terminal's foreground group; jobs have sessions of their own."""
    gate = box.gate()
    run = box.start("--gpus", "0")
    run.write(f"echo $$ >> pids; {gate.wait}; echo finished\n")
    (pid,) = box.wait_pids("pids")
    os.killpg(run.pid, signal.SIGINT)
    run.wait_err("a second one ends them")
    assert is_alive(pid)
    gate.open()
    assert run.ended(end_input=False).out == "finished\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_job_that_ended_just_before_the_signal_counts_as_run(box, number, until, is_alive):
    """Both are news at the same time: the scheduler was stopped while they happened."""
    gate, other = box.gate(), box.gate("other")
    run = box.start("--gpus", "0,1", "--joblog", "log")
    run.write(f"echo $$ >> pids; {gate.wait}\n{other.wait}\n")
    (pid,) = box.wait_pids("pids")
    run.wait_starts(2)
    if number == signal.SIGINT:
        run.send(number)
        run.wait_err("a second one ends them")
    run.send(signal.SIGSTOP)
    gate.open()
    until(lambda: not is_alive(pid), "the job ends")
    run.send(number)
    run.send(signal.SIGCONT)
    result = run.ended(end_input=False)
    assert result.status == NAMES[number]
    assert [row.split("\t")[::6] for row in box.read("log")[1:]] == [["1", "0"]]


def test_interrupted_while_it_loads_it_leaves_no_traceback(box):
    gate = box.gate()
    shim = box.path / "shim"
    shim.mkdir()
    (shim / "argparse.py").write_text(
        "open('loading', 'w').write('now\\n')\nopen('gate').readline()\n"
    )
    run = box.start("--gpus", "0", env={"PYTHONPATH": str(shim)})
    box.wait_lines("loading", 1)
    run.send(signal.SIGINT)
    result = run.ended()
    gate.open()
    assert (result.err, result.status in (130, -signal.SIGINT)) == ("", True)


def test_stop_and_continue(box, until, status_of):
    """^Z and fg: jobs run on and nothing is lost."""
    gate = box.gate()
    run = box.start("--gpus", "0")
    run.write(f"echo up >> up; {gate.wait}; echo one >> got\necho two >> got\n")
    box.wait_lines("up", 1)  # what is said of a start comes before it
    run.send(signal.SIGSTOP)
    until(lambda: status_of(run.pid, "State").startswith("T"), "it stops")
    gate.open()
    box.wait_lines("got", 1)
    run.send(signal.SIGCONT)
    box.wait_lines("got", 2)
    assert run.ended().status == 0
