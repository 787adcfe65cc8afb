"""`sgs` alone: what there is at a glance, and nothing is created by looking."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import fake_nvml
from queues import SGS, Shell
from waiting import wait_until

LAST = "sgs --help shows what else there is."


def glance(path: Path, **environ: str) -> list[str]:
    """What it prints, with everything of its own in a folder."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SGS_", "CUDA_"))}
    state = {"SGS_STATE_DIR": str(path / "state"), "SGS_LEASE_DIR": str(path / "leases")}
    done = subprocess.run(
        [SGS], env={**clean, **state, **environ}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def machine(tmp_path: Path, library: Path) -> fake_nvml.Machine:
    return fake_nvml.Machine(library, tmp_path)


@pytest.fixture
def stranger() -> Iterator[int]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process.pid
        process.kill()


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a driver")
def test_with_nothing_there_it_says_so_and_creates_nothing(tmp_path: Path) -> None:
    assert glance(tmp_path / "a b") == [
        "GPUs   none known: no driver answers, and the queue has no GPUs "
        "(sgs server start --gpus)",
        *["Queue  empty", "", LAST],
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a driver")
def test_slots_and_jobs(shell: Shell) -> None:
    assert shell.sgs().splitlines() == ["GPUs   2 free (0,1)", "Queue  empty", "", LAST]
    shell.sgs("submit", "--", "until [ -e go ]; do sleep 0.01; done # é\x1b[2J\n")
    shell.sgs("submit", "--gpus", "2", lines="echo x\n" * 8)
    wait_until(lambda: shell.objects()[0]["state"] == "running", "it runs")
    lines = shell.sgs().splitlines()
    assert lines[:4] == [
        *["GPUs   1 free (1), 1 leased (0)", "Queue  8 queued, 1 running", ""],
        "ID  state    GPUs  time  command",
    ]
    assert lines[4].startswith("1   running  0 ")
    assert [line.split()[0] for line in lines[5:-2]] == ["2", "3", "4", "5", "...", "9"]
    assert lines[-1] == LAST
    assert all(line.isprintable() for line in lines)
    (shell.path / "go").touch()
    shell.sgs("wait", "1-9")


def test_where_there_is_a_driver(
    machine: fake_nvml.Machine, stranger: int, tmp_path: Path
) -> None:
    busy = fake_nvml.card("GPU-b", processes=[(stranger, 5000)])
    machine.write(
        fake_nvml.card("GPU-a"), busy, fake_nvml.card("GPU-c", "lost"), fake_nvml.card("GPU-d")
    )
    environ = {"LD_LIBRARY_PATH": str(machine.library), "FAKE_NVML_STATE": str(machine.path)}
    before = sorted(tmp_path.iterdir())
    assert glance(tmp_path, **environ)[0] == (
        "GPUs   2 free (0,3), 1 used without a lease (1), 1 at fault (2)"
    )
    assert sorted(tmp_path.iterdir()) == before
    machine.write()
    assert glance(tmp_path, **environ)[0] == "GPUs   none"
    machine.write("init 9\n")
    assert glance(tmp_path, **environ)[0].startswith("GPUs   none known")


def test_leases_are_seen(machine: fake_nvml.Machine, tmp_path: Path) -> None:
    machine.write(*(fake_nvml.card(name, memory="80000 0") for name in ("GPU-a", "GPU-b")))
    env = machine.environ(
        SGS_LEASE_DIR=str(tmp_path / "leases"), SGS_STATE_DIR=str(tmp_path / "s")
    )
    whole = "GPUs   1 free (0), 1 leased (1)"
    part = "GPUs   1 free (0), 1 shared (1)"
    for options, said in (([], whole), (["--vram", "1G"], part)):
        done = subprocess.run(
            [SGS, "lease", "--on", "1", *options, "--", SGS], env=env, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.splitlines()[0] == said, done.stderr


def test_a_queue_without_a_server_says_so(shell: Shell) -> None:
    shell.sgs("server", "drain")
    shell.sgs("submit", "true")
    shell.sgs("server", "stop")
    assert shell.sgs().splitlines()[2].startswith("No server runs")
