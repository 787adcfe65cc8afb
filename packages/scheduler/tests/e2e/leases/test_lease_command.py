"""Leases as users meet them: schedulers and `sgs lease` in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from lease_machine import Machine, hold, let_go, waits_for
from simple_gpu_scheduler.leases.store import live_leases
from waiting import wait_until


def test_a_command_sees_its_gpus_and_keeps_its_pid(machine: Machine) -> None:
    script = 'echo "$$ $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $SGS_LEASE"'
    program = machine.start("sgs", "lease", "--on", "3,GPU-é", "--", "sh", "-c", script)
    out, err = program.communicate()
    pid, gpus, order, lease = out.split()
    assert (int(pid), gpus, order, err) == (program.pid, "3,GPU-é", "PCI_BUS_ID", "")
    assert lease.startswith(f"{program.pid}-")


def test_everybody_may_read_who_has_what_but_not_the_command(machine: Machine) -> None:
    program = hold(machine, "--on", "0,1", "--kind", "notebook")
    (lease,) = live_leases(str(machine.leases))
    assert (lease.pid, lease.kind, lease.gpus) == (program.pid, "notebook", ("0", "1"))
    (name,) = machine.files()
    path = machine.leases / name
    assert path.stat().st_mode & 0o777 == 0o644
    assert set(json.loads(path.read_text().splitlines()[0])) == {
        *["version", "id", "uid", "user", "pid", "kind", "since_s"],
        *["gpus", "units", "memory_mib", "parent", "numbers", "start_ticks"],
    }
    let_go(program)
    assert live_leases(str(machine.leases)) == []
    assert machine.files() == [], "what is over is removed by the first who looks"


def test_some_of_the_named_gpus(machine: Machine) -> None:
    show = ["--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    shell = hold(machine, "--on", "0")
    assert machine.run("sgs", "lease", "--on", "0,1,2", "--gpus", "1", *show).stdout == "1\n"
    assert machine.run("sgs", "lease", "--on", "0,1,2", "--gpus", "2", *show).stdout == "1,2\n"
    too_many = machine.run("sgs", "lease", "--on", "0,1", "--gpus", "3", *show)
    assert (
        too_many.returncode,
        "--gpus asks for 3 GPUs, but --on names 2" in too_many.stderr,
    ) == (2, True)
    let_go(shell)


def test_a_scheduler_waits_for_a_shell_and_says_so_once(machine: Machine) -> None:
    shell = hold(machine, "--on", "0")
    run = machine.start("simple_gpu_scheduler", "--gpus", "0")
    assert run.stdin is not None
    run.stdin.write("echo one\necho two\n")
    run.stdin.close()
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    waits_for(run, f"GPU 0 is leased by {user} (shell, pid {shell.pid}) since ")
    assert run.poll() is None
    let_go(shell)
    assert run.wait(60) == 0
    assert run.stdout is not None
    assert run.stdout.read().splitlines()[1::2] == ["one", "two"]
    assert run.stderr is not None
    assert run.stderr.read() == ""
    assert machine.files() == machine.files(".ticket") == []


def test_without_waiting_the_status_says_that_the_gpus_are_busy(machine: Machine) -> None:
    shell = hold(machine, "--on", "0,1")
    for option in (["--no-wait"], ["--timeout", "0.05"]):
        done = machine.run("sgs", "lease", "--on", "1", *option, "--", "touch", "ran")
        assert done.returncode == 75
        assert f"pid {shell.pid}" in done.stderr
    assert not (machine.path / "ran").exists()
    assert machine.files(".ticket") == []
    assert machine.run("sgs", "lease", "--on", "2", "--no-wait", "--", "true").returncode == 0


def test_two_schedulers_take_turns_on_one_card(machine: Machine) -> None:
    runs = [machine.start("simple_gpu_scheduler", "--gpus", "0", "--quiet") for _ in range(2)]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write(f"{machine.occupy(20)}\n" * 15)
        run.stdin.close()
    assert [run.wait(60) for run in runs] == [0, 0]
    assert machine.log() == ["ok"] * 30


@pytest.mark.parametrize("gpus", ["0", "0,1,2"])
def test_a_scheduler_gives_way_to_one_that_waits(machine: Machine, gpus: str) -> None:
    """The first has work without end; the second is served between two of its jobs."""
    first = machine.start("simple_gpu_scheduler", "--gpus", gpus, "--quiet")
    assert first.stdin is not None
    first.stdin.write("sleep 0.05\n" * 2000)
    first.stdin.flush()
    wait_until(lambda: len(machine.files()) == len(gpus.split(",")), "the first is at work")
    second = machine.run("simple_gpu_scheduler", "--gpus", gpus, lines="echo served\n" * 3)
    assert second.returncode == 0
    assert second.stdout.count("served\n") == 6 - 3
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 143


def test_a_job_of_several_gpus_is_not_starved_by_another_scheduler(machine: Machine) -> None:
    first = machine.start("simple_gpu_scheduler", "--gpus", "0,1,2", "--quiet")
    assert first.stdin is not None
    first.stdin.write("sleep 0.03\nsleep 0.05\nsleep 0.07\n" * 1000)
    first.stdin.flush()
    wait_until(lambda: len(machine.files()) == 3, "the first is at work")
    done = machine.run("sgs", "lease", "--on", "0,1,2", "--", "sh", "-c", machine.occupy(1))
    assert done.returncode == 0
    first.send_signal(signal.SIGTERM)
    first.wait(60)


def test_a_scheduler_within_a_job_uses_the_gpus_of_that_job(machine: Machine) -> None:
    inner = "printf 'echo $CUDA_VISIBLE_DEVICES\\n%.0s' 1 2 3 | simple_gpu_scheduler --quiet"
    done = machine.run(
        *["simple_gpu_scheduler", "--gpus", "4,5", "--gpus-per-job", "2", "--quiet"],
        lines=f"{inner} --gpus 5,4\n",
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["5", "4", "5"], "")


def test_idle_at_an_open_input_it_holds_nothing(machine: Machine) -> None:
    run = machine.start("simple_gpu_scheduler", "--gpus", "0")
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write("echo out\n")
    run.stdin.flush()
    assert run.stdout.readline().startswith("Processing")
    assert run.stdout.readline() == "out\n"
    wait_until(lambda: not machine.files(), "the lease is given back")
    assert machine.run("sgs", "lease", "--on", "0", "--no-wait", "--", "true").returncode == 0
    run.stdin.close()
    assert run.wait(60) == 0


def test_a_stray_child_does_not_keep_the_gpu(machine: Machine) -> None:
    run = machine.run(
        "simple_gpu_scheduler", "--gpus", "0", lines="sleep 60 >&- 2>&- & echo $! > pid\n"
    )
    assert run.returncode == 0
    try:
        assert machine.run("sgs", "lease", "--on", "0", "--no-wait", "--", "true").returncode == 0
    finally:
        os.kill(int((machine.path / "pid").read_text()), signal.SIGKILL)


def test_a_killed_scheduler_leaves_the_lease_to_its_job(machine: Machine) -> None:
    run = machine.start("simple_gpu_scheduler", "--gpus", "0")
    assert run.stdin is not None
    run.stdin.write("echo $$ > new; mv new pid; exec sleep 60\n")
    run.stdin.flush()
    wait_until((machine.path / "pid").exists, "the job runs")
    run.kill()
    run.wait()
    job = int((machine.path / "pid").read_text())
    other = machine.start("sgs", "lease", "--on", "0", "--", "echo", "mine")
    waits_for(other, "GPU 0 is leased by")
    os.kill(job, signal.SIGKILL)
    out, _ = other.communicate(timeout=60)
    assert (other.returncode, out) == (0, "mine\n")


def test_a_waiter_that_is_killed_is_in_nobody_s_way(machine: Machine) -> None:
    shell = hold(machine, "--on", "0")
    first = machine.start("sgs", "lease", "--on", "0", "--", "true")
    waits_for(first, "GPU 0")
    second = machine.start("sgs", "lease", "--on", "0", "--", "echo", "mine")
    waits_for(second, "has waited for longer")
    first.kill()
    first.wait()
    let_go(shell)
    assert second.communicate(timeout=60)[0] == "mine\n"


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 2, "no command"),
        (["--on", "0"], 2, "no command"),
        (["--gpus", "0", "--", "true"], 2, "expected a number of GPUs, 1 to 4096, not '0'"),
        (["--gpus", "0,1", "--", "true"], 2, "not '0,1'; to choose GPU ids use: --on 0,1"),
        (["--on", "0,0", "--", "true"], 2, "names GPU 0 twice"),
        (["--on", "0", "--vram", "ten", "--", "true"], 2, "expected a size"),
        (["--on", "0", "--timeout", "soon", "--", "true"], 2, "--timeout"),
        (["--on", "0", "--wait", "--no-wait", "--", "true"], 2, "not allowed with"),
        (["--on", "0", "--", "no such command"], 127, "'no such command': no such command"),
        (["--on", "0", "--", "/etc/passwd"], 126, "can't be run"),
        (["--", "true"], 2, "no GPU found"),
    ],
)
def test_what_is_wrong_is_said(
    machine: Machine, options: list[str], status: int, said: str
) -> None:
    done = machine.run("sgs", "lease", *options, env={**machine.env, "LD_LIBRARY_PATH": "/none"})
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert machine.files() == []


def test_interrupted_while_waiting(machine: Machine) -> None:
    shell = hold(machine, "--on", "0")
    for command in (
        ["sgs", "lease", "--on", "0", "--", "true"],
        ["simple_gpu_scheduler", "--gpus", "0"],
    ):
        program = machine.start(*command)
        if command[0] != "sgs":
            assert program.stdin is not None
            program.stdin.write("true\n")
            program.stdin.close()
        waits_for(program, "GPU 0")
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 130
        assert program.stderr is not None
        assert "Traceback" not in program.stderr.read()
    let_go(shell)
