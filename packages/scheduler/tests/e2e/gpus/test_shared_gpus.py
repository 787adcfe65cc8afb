"""Strangers, faults and memory: the commands over the fake driver, in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from lease_machine import FREE, Machine, Server
from waiting import wait_until

SHOW = "echo $CUDA_VISIBLE_DEVICES; sleep 0.05\n"


def test_leases_are_keyed_by_uuid_whatever_the_name(server: Server) -> None:
    script = "sgs lease --on GPU-2 --no-wait -- true; echo $?; sgs lease --on 1 -- echo one"
    done = server.machine.run("sgs", "lease", "--on", "2", "--", "env", "-u", "SGS_LEASE", "sh",
                              "-c", script)  # fmt: skip
    assert done.stdout.split() == ["75", "one"]
    assert "GPU GPU-2 is leased by" in done.stderr


def test_a_card_is_one_whether_the_driver_is_seen_or_not(server: Server) -> None:
    """A container without the driver shares the directory with the machine."""
    blind = {k: v for k, v in server.machine.env.items() if k != "LD_LIBRARY_PATH"}
    for first, second in ((server.machine.env, blind), (blind, server.machine.env)):
        shell = server.machine.start(
            *["sgs", "lease", "--on", "2", "--", "sh", "-c", "echo up; read x"], env=first
        )
        assert shell.stdout is not None
        assert shell.stdout.readline() == "up\n"
        for card, status in (("2", 75), ("1", 0)):
            done = server.machine.run(
                *["sgs", "lease", "--on", card, "--no-wait", "--", "true"], env=second
            )
            assert done.returncode == status, done.stderr
        shell.communicate("\n")


@pytest.mark.parametrize(
    ("away", "runtime_s"),
    [("", 0), ("setsid", 1.1)],
    ids=["in the job's process group", "in a session of its own, of a job that ran for a while"],
)
def test_what_a_job_leaves_on_its_card_is_seen_before_the_next_one(
    server: Server, away: str, runtime_s: float
) -> None:
    """The next job waits until the card is free of it, although the scheduler had the card."""
    server.write("")
    state, folder = server.state.path, server.machine.path
    card = f"card GPU-0\n{FREE}\nprocess $! 20000\n".replace("\n", "\\n")
    leaves = f"{away} sleep 60 > /dev/null 2>&1 & sleep {runtime_s}; "
    leaves += f'printf "{card}" > n; mv n {state}; echo $! > left'
    run = server.machine.start("simple_gpu_scheduler", "--quiet")
    assert run.stdin is not None
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdin.write(f"{leaves}\necho $CUDA_VISIBLE_DEVICES\n")
    run.stdin.close()
    said = next(line for line in run.stderr if "left processes" not in line)
    left = int((folder / "left").read_text())
    assert f"GPU 0 is used by {fake_user()} (pid {left}, sleep, 19.5 GiB)" in said
    assert run.poll() is None
    os.kill(left, signal.SIGKILL)
    assert run.stdout.read() == "0\n"
    assert run.wait(60) == 0


def test_cards_of_strangers_are_not_taken(server: Server, stranger: int) -> None:
    server.write("", f"process {stranger} 20000", "")
    done = server.run(SHOW * 6)
    assert (done.returncode, set(done.stdout.split())) == (0, {"0", "2"})
    assert done.stderr.count("GPU 1 is used by") == 1, "told once"
    assert f"(pid {stranger}, python" in done.stderr
    assert ", 19.5 GiB)" in done.stderr


def test_a_card_is_taken_once_the_stranger_is_gone(server: Server, stranger: int) -> None:
    busy = f"process {stranger} 20000"
    server.write(busy, busy, busy)
    run = server.machine.start("simple_gpu_scheduler", "--quiet")
    assert run.stdin is not None
    assert run.stderr is not None
    run.stdin.write(SHOW)
    run.stdin.close()
    assert f"GPU 0 is used by {fake_user()} (pid {stranger}" in run.stderr.readline()
    assert run.poll() is None
    server.write(busy, "", busy)
    assert run.wait(60) == 0
    assert run.stdout is not None
    assert run.stdout.read().split() == ["1"]


def fake_user() -> str:
    """Our own name, as tools print it."""
    done = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("card", "options", "taken"),
    [
        ("process {pid} 500", [], True),
        ("process {pid} 500\nutilisation 50", [], False),
        ("process {pid} 500\nutilisation 50", ["--idle-utilisation", "60"], True),
        ("process {pid} 500", ["--idle-memory", "100M"], False),
        ("process {pid} 20000", ["--idle-memory", "32G"], True),
        ("process {pid} ?", [], False),
        ("utilisation 100", [], True),
        ("memory 80000 2000", [], True),
        ("memory 80000 30000", [], False),
        ("memory 80000 30000", ["--idle-memory", "32G"], True),
    ],
)
def test_a_small_idle_process_does_not_cost_the_card(
    server: Server, stranger: int, card: str, options: list[str], taken: bool
) -> None:
    server.write("", card.format(pid=stranger))
    done = server.run("echo $CUDA_VISIBLE_DEVICES; sleep 0.3\n" * 2, *options)
    assert (done.returncode, "1" in done.stdout.split()) == (0, taken)


def test_a_card_is_taken_once_those_whom_nobody_names_are_gone(server: Server) -> None:
    """As in a container, where the driver names only its own processes."""
    server.write("memory 80000 31744")
    who = "GPU 0 is used by somebody whom the driver doesn't name (30 GiB)"
    named = server.run(SHOW, "--gpus", "0", "--vram", "45G")
    assert (named.returncode, named.stdout, who in named.stderr) == (0, "0\n", True)
    assert who.partition("GPU 0 is ")[2] in server.machine.run("sgs", "explain").stdout
    run = server.machine.start("simple_gpu_scheduler", "--quiet", "--vram", "60G")
    assert run.stdin is not None
    assert run.stderr is not None
    run.stdin.write(SHOW)
    run.stdin.close()
    assert who in run.stderr.readline()
    server.write("")
    assert run.wait(60) == 0
    assert run.stdout is not None
    assert run.stdout.read() == "0\n"


def test_named_gpus_are_used_nevertheless_with_a_warning(server: Server, stranger: int) -> None:
    server.write("", f"process {stranger} 20000", "")
    done = server.run(SHOW, "--gpus", "1")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "warning: GPU 1 is used by" in done.stderr
    lease = server.machine.run("sgs", "lease", "--on", "1", "--", "echo", "mine")
    assert (lease.returncode, lease.stdout) == (0, "mine\n")
    assert "warning: GPU 1 is used by" in lease.stderr


def test_its_own_jobs_are_no_strangers(server: Server) -> None:
    """A job that has much memory, and another one that starts beside it."""
    machine = server.machine
    run = machine.start("simple_gpu_scheduler", "--quiet", "--jobs-per-gpu", "2")
    assert run.stdin is not None
    run.stdin.write("echo $$ > new; mv new pid; read x < gate; echo $CUDA_VISIBLE_DEVICES\n")
    run.stdin.flush()
    os.mkfifo(machine.path / "gate")
    wait_until((machine.path / "pid").exists, "the job runs")
    pid = (machine.path / "pid").read_text().strip()
    server.write(f"process {pid} 60000\nutilisation 99", "", "")
    run.stdin.write("echo $CUDA_VISIBLE_DEVICES > second\n" * 6)
    run.stdin.flush()
    wait_until((machine.path / "second").exists, "the others ran")
    (machine.path / "gate").write_text("\n")
    run.stdin.close()
    assert run.wait(60) == 0
    assert run.stderr is not None
    assert "is used by" not in run.stderr.read()


@pytest.mark.parametrize("keep_free", [1, 2])
def test_cards_are_kept_free_for_others(server: Server, keep_free: int) -> None:
    done = server.run(SHOW * 6, "--keep-free", str(keep_free))
    assert (done.returncode, len(set(done.stdout.split()))) == (0, 3 - keep_free)
    kept = {1: "1 is", 2: "2 are"}[keep_free]
    assert f"{kept} kept free (--keep-free)" in done.stderr


def test_a_lost_card_is_taken_out_and_its_job_runs_again_elsewhere(server: Server) -> None:
    """The job sees its card die, and fails; it counts as not run."""
    machine = server.machine
    dying = f"mv {machine.path}/next.state {server.state.path}; exit 1"
    first = f"[ -e {machine.path}/next.state ] && {{ {dying}; }}; echo $CUDA_VISIBLE_DEVICES"
    (machine.path / "next.state").write_text(
        f"card GPU-0\n{FREE}\nlost\ncard GPU-1\n{FREE}\ncard GPU-2\n{FREE}\n"
    )
    done = server.run(f"{first}\n" + SHOW * 6)
    assert done.returncode == 0, done.stderr
    assert "GPU 0: the GPU has fallen off the bus" in done.stderr
    assert len(done.stdout.split()) == 7
    assert done.stdout.split().count("0") == 0


def test_a_card_with_an_xid_is_taken_out_and_its_job_runs_again(server: Server) -> None:
    """The driver tells once, and the job fails right after that."""
    machine = server.machine
    server.write("", "")
    (machine.path / "next.state").write_text(f"card GPU-0\n{FREE}\nxid 79\ncard GPU-1\n{FREE}\n")
    dying = f"mv {machine.path}/next.state {server.state.path}; exit 1"
    first = f"[ -e {machine.path}/next.state ] && {{ {dying}; }}; echo $CUDA_VISIBLE_DEVICES"
    done = server.run(f"{first}\n")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "GPU 0: Xid 79" in done.stderr
    assert "not used any more" in done.stderr


def test_a_card_that_was_lost_before_is_a_failed_one_and_not_unknown(server: Server) -> None:
    server.write("", "lost")
    done = server.run(SHOW * 2, "--gpus", "0,1")
    assert (done.returncode, done.stdout) == (0, "0\n0\n")
    alone = server.run(SHOW, "--gpus", "1")
    assert alone.returncode == 1
    assert "no GPU is left to run on (GPU 1 has failed: the GPU has fallen off" in alone.stderr
    explained = server.machine.run("sgs", "explain", "--on", "0,1", "--gpus", "1")
    assert "fault: the GPU has fallen off the bus" in explained.stdout
    assert "would start now on GPU 0" in explained.stdout


def test_a_job_that_needs_a_card_that_has_failed_fails_and_the_others_run(server: Server) -> None:
    """It must not wait for ever, and keep the card that is well from others."""
    machine = server.machine
    server.write("", "")
    (machine.path / "next.state").write_text(f"card GPU-0\n{FREE}\ncard GPU-1\n{FREE}\nlost\n")
    dying = f"mv {machine.path}/next.state {server.state.path}; exit 1  # sgs: gpus=2"
    done = server.run(f"{dying}\necho never  # sgs: gpus=2\n{SHOW}")
    assert done.returncode == 1
    assert "attempt 1 once more" in done.stderr
    assert done.stderr.count("asks for 2 GPUs, but there is only 1 (GPU 1 has failed: ") == 2
    assert done.stdout == "0\n"
    assert "2 of 3 jobs failed" in done.stderr


def test_memory_that_only_a_failed_card_had_is_not_waited_for(server: Server) -> None:
    small = FREE.replace("80000", "20000")
    server.state.write(f"card GPU-0\n{small}\n", f"card GPU-1\n{FREE}\necc 2\n")
    lease = server.machine.run("sgs", "lease", "--vram", "40G", "--", "true")
    assert lease.returncode == 2
    assert "asks for 40 GiB on one GPU, but the largest has 19 GiB (GPU 0)" in lease.stderr
    server.state.write(f"card GPU-0\n{small}\n", f"card GPU-1\n{FREE}\n")
    state, path = server.state.path, server.machine.path
    (path / "next.state").write_text(f"card GPU-0\n{small}\ncard GPU-1\n{FREE}\necc 2\n")
    done = server.run(f"mv {path}/next.state {state}; exit 1  # sgs: vram=40G\n{SHOW}")
    assert done.returncode == 1
    assert "but the largest has 19 GiB (GPU 0) (GPU 1 has failed: 2 uncorrec" in done.stderr
    assert done.stdout == "0\n"


def test_a_slice_and_the_number_of_its_card_are_one(server: Server) -> None:
    server.state.write(f"card GPU-0\n{FREE}\n", f"card GPU-1\n{FREE}\nslice MIG-a\nslice MIG-b\n")
    blind = {k: v for k, v in server.machine.env.items() if k != "LD_LIBRARY_PATH"}
    for first, second in (("MIG-a", "1"), ("1", "MIG-a")):
        envs = (blind, server.machine.env) if first == "1" else (server.machine.env, blind)
        shell = server.machine.start(
            *["sgs", "lease", "--on", first, "--", "sh", "-c", "echo up; read x"], env=envs[0]
        )
        assert shell.stdout is not None
        assert shell.stdout.readline() == "up\n"
        done = server.machine.run(
            *["sgs", "lease", "--on", second, "--no-wait", "--", "true"], env=envs[1]
        )
        assert done.returncode == 75, done.stderr
        shell.communicate("\n")


def test_within_some_memory_of_a_card_there_is_no_more(server: Server) -> None:
    inner = "sgs lease --on 0 --vram 70G --no-wait -- true"
    done = server.machine.run(
        "sgs", "lease", "--on", "0", "--vram", "10G", "--", "sh", "-c", inner
    )
    assert done.returncode == 2
    assert "asks for 70 GiB on one GPU, but the largest has 10 GiB (GPU 0)" in done.stderr


def test_without_a_card_that_is_well_it_gives_up(server: Server) -> None:
    server.write("lost", "ecc 3", "lost")
    done = server.run(SHOW, "--gpus", "1")
    assert done.returncode == 1
    assert "no GPU is left to run on (GPU 1 has failed: 3 uncorrectable ECC errors" in done.stderr
    assert "1 read but not started" in done.stderr


def most_at_once(machine: Machine) -> int:
    """From a log of + and -."""
    now = most = 0
    for line in (machine.path / "load").read_text().split():
        now += 1 if line == "+" else -1
        most = max(most, now)
    return most


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--vram", "30G"], 2),
        (["--vram", "70G"], 1),
        (["--vram", "10G", "--jobs-per-gpu", "3"], 3),
        (["--vram", "19G"], 4),
    ],
)
def test_jobs_are_packed_by_the_memory_that_they_ask_for(
    server: Server, options: list[str], expected: int
) -> None:
    server.write("")
    done = server.run("echo + >> load; sleep 0.4; echo - >> load\n" * 5, *options)
    assert done.returncode == 0, done.stderr
    assert most_at_once(server.machine) == expected


def test_a_line_may_say_what_memory_it_needs(server: Server) -> None:
    server.write("")
    job = "echo + >> load; sleep 0.3; echo - >> load"
    lines = f"{job} # sgs: vram=50G\n{job} # sgs: vram=20G\n{job}\necho too much # sgs: vram=99G\n"
    done = server.run(lines)
    assert done.returncode == 1
    assert most_at_once(server.machine) == 2
    assert "line 4: asks for 99 GiB on one GPU, but the largest has 77.6 GiB" in done.stderr
    assert "1 of 4 jobs failed" in done.stderr
    dry = server.run(lines, "--dry-run")
    assert (dry.returncode, dry.stdout.splitlines()) == (1, lines.splitlines()[:3])


def test_memory_of_strangers_counts(server: Server, stranger: int) -> None:
    server.write(f"process {stranger} 35000")
    done = server.run(
        "echo + >> load; sleep 0.2; echo - >> load\n" * 3, "--vram", "30G", "--gpus", "0"
    )
    assert done.returncode == 0, done.stderr
    assert most_at_once(server.machine) == 1


def test_two_schedulers_pack_one_card_together(server: Server) -> None:
    server.write("")
    runs = [
        server.machine.start("simple_gpu_scheduler", "--quiet", "--vram", "25G") for _ in range(2)
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("echo + >> load; sleep 0.3; echo - >> load\n" * 4)
        run.stdin.close()
    assert [run.wait(60) for run in runs] == [0, 0]
    assert most_at_once(server.machine) == 3


def using(server: Server, memory_mib: int) -> str:
    """A job that has so much memory of GPU 0, as the driver says."""
    state = server.state.path
    card = f"card GPU-0\\n{FREE}".replace("\n", "\\n")
    return f"printf '{card}\\nprocess %s {memory_mib}\\n' $$ > n$$; mv n$$ {state}; sleep 2.5"


def test_what_jobs_had_is_measured_and_told(server: Server) -> None:
    server.write("")
    done = server.machine.run(
        *["simple_gpu_scheduler", "--vram", "10G", "--results", "r"],
        lines=f"{using(server, 6144)}\n",
    )
    assert done.returncode == 0
    assert "job 1 had 6 GiB of GPU memory, asked 10 GiB\n" in done.stderr
    assert "GPU memory: asked 10 GiB, measured at most 6 GiB (1 job)\n" in done.stderr
    record = json.loads((server.machine.path / "r/1/result.json").read_text())
    assert (record["vram_mib"], record["peak_vram_mib"]) == (10240, 6144)


def test_what_a_sweep_needs_is_found_out(server: Server) -> None:
    """The first job runs alone; then three of 20 GB fit; the next run knows it at once."""
    server.write("")
    server.machine.env["SGS_STATE_DIR"] = str(server.machine.path / "state")
    job = f"echo + >> load; {using(server, 20_000)}; echo - >> load; : "
    options = ("--vram", "auto", "--gpus", "0")
    done = server.run("".join(f"{job}{n}\n" for n in range(4)), *options)
    assert done.returncode == 0
    load = (server.machine.path / "load").read_text().split()
    assert load[:2] == ["+", "-"]
    assert most_at_once(server.machine) == 3
    assert "GPU memory: asked 21.7 GiB, measured at most 19.5 GiB" in done.stderr
    (server.machine.path / "load").unlink()
    server.run("".join(f"{job}{n}\n" for n in range(3)), *options)
    assert most_at_once(server.machine) == 3


def test_a_sweep_that_needs_nearly_all_of_a_gpu_runs_job_by_job(server: Server) -> None:
    """With the margin on top no card would ever do; the next run must not wait for one either."""
    server.write("")
    server.machine.env["SGS_STATE_DIR"] = str(server.machine.path / "state")
    job = f"echo + >> load; {using(server, 78_000)}; echo - >> load; : "
    for _ in "12":
        done = server.run(f"{job}1\n{job}2\n", "--vram", "auto", "--gpus", "0")
        assert (done.returncode, most_at_once(server.machine)) == (0, 1)
        assert "measured at most 76.2 GiB" in done.stderr


def test_without_a_driver_nothing_can_be_found_out(machine: Machine) -> None:
    done = machine.run("simple_gpu_scheduler", "--gpus", "0", "--vram", "auto", lines="true\n")
    assert done.returncode == 2
    assert "--vram auto measures jobs through the driver" in done.stderr


@pytest.mark.parametrize("options", [[], ["--results", "r"]])
def test_out_of_memory_runs_again_with_more_then_alone(server: Server, options: list[str]) -> None:
    server.write("")
    says = "echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB' >&2; exit 1"
    line = f"echo x >> tries; [ $(wc -l < tries) -ge 3 ] || {{ {says}; }}"
    done = server.run(f"{line}\n", "--vram", "40G", *options)
    assert done.returncode == 0
    assert done.stderr.count("CUDA out of memory") == (0 if options else 2)
    assert [text.partition("; ")[2] for text in done.stderr.splitlines() if "ran out" in text] == [
        "trying again with 60 GiB",
        "trying again alone on its GPU",
    ]
    if options:
        assert sorted(os.listdir(server.machine.path / "r/1")) == [
            *["attempt-1", "attempt-2"],
            *["command", "result.json", "stderr", "stdout"],
        ]


@pytest.mark.parametrize("options", [[], ["--results", "r"]])
def test_out_of_memory_alone_on_a_gpu_is_a_failure(server: Server, options: list[str]) -> None:
    server.write("")
    line = "echo x >> tries; echo 'RESOURCE_EXHAUSTED: Out of memory while trying' >&2; exit 1"
    done = server.run(f"{line}\n", "--vram", "77G", *options)
    assert done.returncode == 1
    assert (server.machine.path / "tries").read_text() == "x\n" * 2
    plain = server.run(f"{line}\n", *options)
    assert plain.returncode == 1
    assert (server.machine.path / "tries").read_text() == "x\n" * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vram", "79G"], "asks for 79 GiB on one GPU, but the largest has 77.6 GiB (GPU 0)"),
        (["--vram", "10"], "expected a size with its unit"),
        (["--keep-free", "-1"], "--keep-free"),
        (["--idle-memory", "x"], "--idle-memory 'x': expected a size"),
    ],
)
def test_what_can_never_be_is_an_error(server: Server, options: list[str], message: str) -> None:
    done = server.run(SHOW, *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_without_a_driver_memory_can_not_be_asked_for(machine: Machine) -> None:
    done = machine.run("simple_gpu_scheduler", "--gpus", "0", "--vram", "1G", lines="true\n")
    assert done.returncode == 2
    assert "nobody knows how much memory the GPUs have" in done.stderr


def test_frameworks_are_told_to_be_modest_in_a_lease_of_memory_and_to_be_measured(
    server: Server,
) -> None:
    show = "echo ${XLA_PYTHON_CLIENT_PREALLOCATE-unset} ${TF_FORCE_GPU_ALLOW_GROWTH-unset}"
    server.machine.env["SGS_STATE_DIR"] = str(server.machine.path / "state")
    assert server.run(f"{show}\n", "--vram", "auto").stdout == "false true\n"

    def leased(*options: str) -> str:
        return server.machine.run("sgs", "lease", *options, "--", "sh", "-c", show).stdout

    assert leased() == "unset unset\n"
    assert leased("--vram", "5G") == "false true\n"
    server.machine.env["XLA_PYTHON_CLIENT_PREALLOCATE"] = "true"
    assert leased("--vram", "5G") == "true true\n"


def test_leases_on_parts_fill_one_card_before_the_next(server: Server) -> None:
    command = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; read x"]
    shells: list[subprocess.Popen[str]] = []
    for expected in ("0", "0", "1", "1", "2"):
        shells.append(server.machine.start("sgs", "lease", "--vram", "30G", "--", *command))
        assert shells[-1].stdout is not None
        assert shells[-1].stdout.readline() == f"{expected}\n"
    for shell in shells:
        shell.communicate("\n", timeout=60)


@pytest.mark.parametrize("command", ["simple_gpu_scheduler", "sgs explain"])
@pytest.mark.parametrize("number", [3, 9])
def test_to_keep_all_cards_free_is_an_error(server: Server, command: str, number: int) -> None:
    done = server.machine.run(*command.split(), "--keep-free", str(number), lines=SHOW)
    assert done.returncode == 2
    assert f"--keep-free {number}: no GPU would ever be taken, as there are 3" in done.stderr


def test_frameworks_are_told_to_be_modest_where_a_card_is_shared(server: Server) -> None:
    line = "echo ${XLA_PYTHON_CLIENT_PREALLOCATE-unset} ${TF_FORCE_GPU_ALLOW_GROWTH-unset}\n"
    assert server.run(line).stdout == "unset unset\n"
    assert server.run(line, "--vram", "10G").stdout == "false true\n"
    server.machine.env["XLA_PYTHON_CLIENT_PREALLOCATE"] = "true"
    assert server.run(line, "--jobs-per-gpu", "2").stdout == "true true\n"
