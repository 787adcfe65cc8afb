"""`sgs explain` over the fake driver: it says what the scheduler then does, and takes nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lease_machine import FREE, Machine, Server
from waiting import wait_until

EIGHT = [
    *("link GPU-1 12", "link GPU-0 12", "link GPU-3 4", "link GPU-2 4"),
    *("numa 1", "numa 1", "", ""),
]


def explained(machine: Machine, *options: str, status: int = 0) -> dict[str, Any]:
    done = machine.run("sgs", "explain", "--json", *options)
    assert (done.returncode, done.stderr) == (status, "")
    found = json.loads(done.stdout)
    assert found["starts"] == (status == 0)
    assert found["gpus"] == [one["gpu"] for one in found["cards"] if one["chosen"]]
    return found


def reasons(found: dict[str, Any]) -> dict[str, str]:
    return {one["gpu"]: one["reason"] for one in found["cards"]}


def files(machine: Machine) -> set[tuple[str, int]]:
    """All there is of leases, and when it was changed."""
    paths = [machine.leases, *machine.leases.rglob("*")] if machine.leases.exists() else []
    return {(str(path), path.stat().st_mtime_ns) for path in paths}


@contextmanager
def held(machine: Machine, *options: str) -> Iterator[int]:
    """GPUs that somebody has meanwhile; the pid that has them."""
    lease = machine.start("sgs", "lease", *options, "--", "sh", "-c", "echo $$; read x")
    assert lease.stdout is not None
    assert lease.stdin is not None
    pid = int(lease.stdout.readline())
    yield pid
    lease.stdin.close()
    lease.wait(60)


@contextmanager
def waiting(machine: Machine, *options: str) -> Iterator[int]:
    """Somebody who has joined the queue; his pid."""
    before = len(machine.files(".ticket"))
    run = machine.start("sgs", "lease", *options, "--", "true")
    wait_until(lambda: len(machine.files(".ticket")) > before, "it waits")
    yield run.pid
    run.terminate()
    run.wait(60)


def me() -> str:
    done = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_says_what_the_scheduler_then_does(server: Server, stranger: int) -> None:
    """The same world, the same GPUs, by every option that chooses."""
    server.write(*EIGHT[:4], f"process {stranger} 20000", *EIGHT[4:6])
    with held(server.machine, "--on", "0", "--vram", "20G"):
        for options in (
            [],
            ["--gpus", "2"],
            ["--gpus", "4", "--keep-free", "1"],
            ["--vram", "30G"],
            ["--vram", "30G", "--spread"],
            ["--vram", "5G", "--gpus", "3"],
            ["--jobs-per-gpu", "3", "--pack"],
        ):
            found = explained(server.machine, *options)
            run = [word.replace("--gpus", "--gpus-per-job") for word in options]
            done = server.run("echo $CUDA_VISIBLE_DEVICES\n", *run)
            assert (done.returncode, done.stdout) == (0, ",".join(found["gpus"]) + "\n"), options


def test_it_waits_where_the_scheduler_would(server: Server, stranger: int) -> None:
    server.write("", f"process {stranger} 20000")
    for options in (["--gpus", "2"], ["--keep-free", "1"], ["--gpus", "2", "--vram", "60G"]):
        found = explained(server.machine, *options, status=75)
        assert found["summary"].startswith("the job would wait: it needs ")
        assert found["gpus"] == []


def test_it_takes_nothing_and_leaves_everything_as_it_was(server: Server) -> None:
    machine = server.machine
    explained(machine)
    assert not machine.leases.exists()
    with held(machine, "--on", "1") as pid, waiting(machine, "--on", "1"):
        before = files(machine)
        assert before
        explained(machine)
        explained(machine, "--gpus", "3", status=75)
        explained(machine, "--on", "1", status=75)
        assert files(machine) == before
        os.kill(pid, 0)


def test_the_reasons_name_those_who_have_the_gpus(server: Server, stranger: int) -> None:
    server.write("", f"process {stranger} 20000", "ecc 3", "", "")
    options = ["--on", "0", "--kind", "notebook"]
    with held(server.machine, *options) as pid, waiting(server.machine, "--on", "0,3"):
        done = server.machine.run("sgs", "explain", "--gpus", "2", "--keep-free", "1")
        assert done.returncode == 75
        lines = done.stdout.splitlines()
    assert lines[0].startswith(f"  GPU 0  leased by {me()}'s notebook (pid {pid}) since ")
    assert lines[1].startswith(f"  GPU 1  used by {me()} (pid {stranger}, python")
    assert lines[1].endswith(", 19.5 GiB)")
    assert lines[2].startswith("  GPU 2  fault: 3 uncorrectable ECC errors")
    assert lines[3].startswith(f"  GPU 3  reserved for {me()} (pid ")
    assert lines[3].endswith("), who has waited longer")
    assert lines[4] == "  GPU 4  kept free (--keep-free)"
    assert lines[5:] == ["", "the job would wait: it needs 2 GPUs, and 0 are free"]


def test_gpus_that_are_connected(server: Server) -> None:
    server.write(*EIGHT)
    assert explained(server.machine, "--gpus", "2")["summary"] == (
        "a job of 2 GPUs would start now on GPUs 0,1: 12 direct links between them, the best "
        "connected pair of 8 with room"
    )
    with held(server.machine, "--on", "1"):
        found = explained(server.machine, "--gpus", "2")
        assert (found["gpus"], reasons(found)["0"]) == (["2", "3"], "free; not needed")
        with held(server.machine, "--on", "2"):
            found = explained(server.machine, "--gpus", "2")
            assert found["gpus"] == ["4", "5"]
            assert "on one NUMA node, the best connected pair" in found["summary"]


def test_memory(server: Server, stranger: int) -> None:
    server.write("", f"process {stranger} 70000", "")
    with held(server.machine, "--on", "0", "--vram", "50G"):
        found = explained(server.machine, "--vram", "30G", "--on", "0,1,2", "--gpus", "1")
        said = reasons(found)
        assert said["0"].startswith("lacks memory: 27.6 GiB free of the 30 GiB asked; shared with")
        assert said["1"].startswith("lacks memory: 9.3 GiB free of the 30 GiB asked; used by ")
        assert said["2"] == "free (77.6 GiB of memory)"
        found = explained(server.machine, "--vram", "20G", "--pack")
        assert (found["gpus"], found["summary"]) == (
            ["0"],
            "a job of 20 GiB on one GPU would start now on GPU 0: it leaves least free there "
            "(pack)",
        )
        assert reasons(found)["0"].startswith("has room (27.6 GiB of memory); shared with ")
        assert explained(server.machine, "--vram", "20G", "--spread")["gpus"] == ["2"]


def test_a_small_use_and_a_named_gpu_have_room(server: Server, stranger: int) -> None:
    server.write(f"process {stranger} 500", f"process {stranger} 20000")
    said = reasons(explained(server.machine))
    assert said["0"].startswith("has room; used by ")
    assert said["1"].startswith("used by ")
    found = explained(server.machine, "--on", "1")
    assert found["gpus"] == ["1"]
    assert explained(server.machine, "--idle-memory", "100M", status=75)["gpus"] == []


def test_within_a_lease_its_gpus_are_free(server: Server) -> None:
    with held(server.machine, "--on", "2"):
        done = server.machine.run(
            *["sgs", "lease", "--on", "0,1", "--", "sgs", "explain", "--json"],
        )
    found = json.loads(done.stdout)
    assert reasons(found) == {"0": "free", "1": "free; not needed"}


def test_without_a_driver_names_will_do(machine: Machine) -> None:
    with held(machine, "--on", "a"):
        done = machine.run("sgs", "explain", "--on", "a,b", "--gpus", "1")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"  GPU a  leased by {me()}'s shell (pid ")
    assert lines[1:] == [
        *["* GPU b  free", ""],
        "a job of 1 GPU would start now on GPU b: the only one with room",
    ]
    both = machine.run("sgs", "explain", "--on", "a,b")
    assert both.stdout.splitlines()[-1].startswith("a job of 2 GPUs would start now on GPUs a,b")


def test_who_knows_no_driver_is_named_too(server: Server, machine: Machine) -> None:
    """He knows the card by its number only."""
    plain = {name: v for name, v in machine.env.items() if name != "LD_LIBRARY_PATH"}
    lease = machine.start("sgs", "lease", "--on", "1", "--", "sh", "-c", "echo; read x", env=plain)
    assert lease.stdout is not None
    lease.stdout.readline()
    assert reasons(explained(machine))["1"].startswith(
        f"leased by {me()}'s shell (pid {lease.pid})"
    )


def test_what_a_name_may_hold_does_no_harm(server: Server, tmp_path: Path) -> None:
    """A process may be called anything."""
    program = tmp_path / "\x1b[2J\n\u202e"
    program.symlink_to("/bin/sh")
    run = subprocess.Popen(
        [program, "-c", "read x"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert run.stdin is not None
    server.write(f"process {run.pid} 20000", "")
    try:
        done = server.machine.run("sgs", "explain")
    finally:
        run.stdin.close()
        run.wait(60)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    odd = server.machine.run("sgs", "explain", "--on", "\u202e0")
    assert (odd.returncode, "no GPU can have" in odd.stderr) == (2, True)


def test_without_a_gpu_that_is_well_it_would_fail(server: Server) -> None:
    server.write("lost", "ecc 3", "")
    done = server.machine.run("sgs", "explain", "--on", "1")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == "the job would fail: no GPU is left to run on"
    assert explained(server.machine)["gpus"] == ["2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "4"], "the job asks for 4 GPUs, but there are only 3"),
        (["--on", "0", "--gpus", "2"], "the job asks for 2 GPUs, but there is only 1"),
        (["--on", "7"], "unknown GPU '7'"),
        (["--on", "0,0"], "--on names GPU 0 twice"),
        (["--vram", "79G"], "the job asks for 79 GiB on one GPU, but the largest has 77.6 GiB"),
        (["--vram", "10"], "--vram '10': expected a size with its unit"),
        (["--idle-memory", "x"], "--idle-memory 'x': expected a size"),
        (["--gpus", "0"], "expected a number of GPUs, 1 to 4096"),
        (["--keep-free", "-1"], "--keep-free"),
        (["--spread", "--pack"], "argument --pack: not allowed with argument --spread"),
        (["0"], "there is no job 0"),
        (["--", "-1"], "'-1' is no job"),
        (["1", "--gpus", "2"], "a job of the queue has its options from sgs submit"),
    ],
)
def test_what_can_never_be_is_an_error(server: Server, options: list[str], message: str) -> None:
    done = server.machine.run("sgs", "explain", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sgs: error: ")
    assert message in done.stderr


def test_a_directory_that_would_not_do_is_an_error(machine: Machine) -> None:
    machine.leases.write_text(FREE)
    done = machine.run("sgs", "explain", "--on", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no GPU can be leased" in done.stderr
