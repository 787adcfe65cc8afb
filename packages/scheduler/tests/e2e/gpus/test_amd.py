"""AMD's cards under the installed commands, over the stand-in for amdsmi."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import amdsmi_standin
import fake_nvml
from amdsmi_standin import mi300, used
from lease_machine import Machine
from waiting import BOUND_S, wait_until

SHOW = "echo $HIP_VISIBLE_DEVICES; sleep 0.05\n"
VARIABLES = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


@pytest.fixture
def amd(machine: Machine, tmp_path: Path) -> Machine:
    """Three free cards, which amdsmi doesn't list in HIP's order."""
    folder = tmp_path / "rocm"
    folder.mkdir()
    amdsmi_standin.installed(folder)
    machine.env = {name: v for name, v in machine.env.items() if name not in VARIABLES}
    machine.env |= {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
    put(machine, mi300(1), mi300(0), mi300(2))
    return machine


def put(amd: Machine, *cards: dict[str, object]) -> None:
    amdsmi_standin.write(amd.path / "rocm", list(cards))


def run(amd: Machine, lines: str, *options: str) -> subprocess.CompletedProcess[str]:
    return amd.run("simple_gpu_scheduler", "--quiet", *options, lines=lines)


def shown(amd: Machine, *options: str) -> list[str]:
    done = run(amd, SHOW * 6, *options)
    assert done.returncode == 0, done.stderr
    return sorted(set(done.stdout.split()))


def test_all_cards_are_used_and_jobs_see_theirs_whichever_variable_they_read(
    amd: Machine,
) -> None:
    assert shown(amd) == ["0", "1", "2"]
    done = run(amd, "echo $HIP_VISIBLE_DEVICES $CUDA_VISIBLE_DEVICES\n", "--gpus-per-job", "2")
    assert done.stdout == "0,1 0,1\n"


@pytest.mark.parametrize(
    ("inherited", "expected"),
    [
        ({"HIP_VISIBLE_DEVICES": "2,0"}, ["0", "2"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": "2", "CUDA_VISIBLE_DEVICES": "1"}, ["2"]),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": "GPU-1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": "0,-1,2"}, ["0"]),
        ({"ROCR_VISIBLE_DEVICES": "2,GPU-0"}, ["0", "1"]),
        ({"ROCR_VISIBLE_DEVICES": "2,0", "HIP_VISIBLE_DEVICES": "1"}, ["1"]),
    ],
)
def test_within_what_was_inherited(
    amd: Machine, inherited: dict[str, str], expected: list[str]
) -> None:
    amd.env |= inherited
    assert shown(amd) == expected


def test_a_card_is_leased_by_its_uuid_however_it_is_counted(amd: Machine) -> None:
    amd.env["ROCR_VISIBLE_DEVICES"] = "2,0"
    done = run(
        amd, "echo $ROCR_VISIBLE_DEVICES; head -qn1 $SGS_LEASE_DIR/*.lease\n", "--gpus", "0"
    )
    rocr, lease = done.stdout.splitlines()
    assert (rocr, json.loads(lease)["gpus"]) == ("2,0", ["GPU-2"])


@pytest.mark.parametrize(
    "inherited",
    [
        {"HIP_VISIBLE_DEVICES": ""},
        {"CUDA_VISIBLE_DEVICES": ""},
        {"HIP_VISIBLE_DEVICES": "7"},
        {"ROCR_VISIBLE_DEVICES": "2", "HIP_VISIBLE_DEVICES": "2"},
    ],
)
def test_nothing_usable_within_what_was_inherited(amd: Machine, inherited: dict[str, str]) -> None:
    amd.env |= inherited
    done = run(amd, SHOW)
    assert done.returncode == 2
    said = " ".join(f"{name}={inherited[name]!r}" for name in VARIABLES if name in inherited)
    assert f"the machine has 3 AMD GPUs, none of them usable within {said}" in done.stderr


def test_named_cards(amd: Machine) -> None:
    assert shown(amd, "--gpus", "2") == ["2"]
    assert shown(amd, "--gpus", "GPU-1") == ["1"], "by HIP's number, whatever the user called it"
    amd.env["HIP_VISIBLE_DEVICES"] = "0"
    assert shown(amd, "--gpus", "2") == ["2"]
    done = run(amd, SHOW, "--gpus", "7")
    assert done.returncode == 2
    assert "unknown GPU '7'; this machine has 0, 1, 2 (see sgs gpus)" in done.stderr
    twice = run(amd, SHOW, "--gpus", "1,GPU-1")
    assert "names one GPU twice: 1 and GPU-1" in twice.stderr


def test_leases_hold_the_cards(amd: Machine) -> None:
    inner = "sgs lease --on GPU-2 --no-wait -- true; echo $?; sgs lease --on 1 -- echo one"
    outside = ["env", "-u", "SGS_LEASE", "sh", "-c", inner]
    done = amd.run("sgs", "lease", "--on", "2", "--", *outside)
    assert done.stdout.split() == ["75", "one"]
    assert "GPU 2 is leased by" in done.stderr
    listed = amd.run("sgs", "lease", "--on", "2", "--", "sgs", "gpus", "--json")
    states = {one["gpu"]: one["state"] for one in json.loads(listed.stdout)}
    assert states == {"0": "free", "1": "free", "2": "leased"}


def test_strangers_memory_and_faults(amd: Machine) -> None:
    broken = mi300(2, amdsmi_get_gpu_total_ecc_count={"uncorrectable_count": 3})
    put(amd, mi300(0, **used(os.getpid(), 100_000)), mi300(1), broken)
    assert shown(amd) == ["1"]
    done = amd.run("sgs", "explain", "--vram", "120G", "--on", "0,1,2", "--gpus", "2")
    assert done.returncode == 75
    lines = done.stdout.splitlines()
    assert lines[0].startswith(
        "  GPU 0  lacks memory: 93.8 GiB free of the 120 GiB asked; used by"
    )
    assert lines[1:] == [
        "  GPU 1  free (191.5 GiB of memory)",
        "  GPU 2  fault: 3 uncorrectable ECC errors; reset the GPU",
        "",
        "the job would wait: it needs 120 GiB on each of 2 GPUs; too few have that much free",
    ]


def test_a_card_is_taken_once_the_stranger_is_gone(amd: Machine) -> None:
    busy = used(os.getpid(), 100_000)
    put(amd, mi300(0, **busy), mi300(1, **busy))
    program = amd.start("simple_gpu_scheduler", "--quiet")
    assert program.stdin is not None
    assert program.stderr is not None
    assert program.stdout is not None
    program.stdin.write(SHOW)
    program.stdin.close()
    assert "GPU 0 is used by" in program.stderr.readline()
    put(amd, mi300(0, **busy), mi300(1))
    assert program.wait(BOUND_S) == 0
    assert program.stdout.read() == "1\n"


def test_jobs_share_a_card_by_memory(amd: Machine) -> None:
    put(amd, mi300(0))
    job = "echo + >> load; read x < gate\n"
    os.mkfifo(amd.path / "gate")
    program = amd.start("simple_gpu_scheduler", "--quiet", "--vram", "60G")
    assert program.stdin is not None
    program.stdin.write(job * 4)
    program.stdin.close()
    load = amd.path / "load"
    wait_until(lambda: load.exists() and load.read_text() == "+\n" * 3, "three of them fit")
    found = amd.run("sgs", "explain", "--vram", "60G")
    assert found.returncode == 75
    with open(amd.path / "gate", "w") as gate:
        gate.write("\n" * 4)
        gate.flush()
        assert program.wait(BOUND_S) == 0


PYTHON = """\
from simple_gpu_scheduler.client import lease
from simple_gpu_scheduler.executor import GPUExecutor
import os
names = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
def seen():
    import os
    return [os.environ.get(name) for name in names]
with lease(on="GPU-2") as gpus:
    print(gpus, seen())
print(seen())
with GPUExecutor(on="1") as pool:
    print(pool.submit(seen).result())
"""


def test_python_programs(amd: Machine) -> None:
    amd.env["HIP_VISIBLE_DEVICES"] = "0"
    done = subprocess.run(
        [sys.executable, "-c", PYTHON],
        env=amd.env,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "('2',) ['2', '2', None]",
        "['0', None, None]",
        "['1', '1', None]",
    ]


def test_within_a_lease_its_cards_are_shared_out(amd: Machine) -> None:
    script = "printf 'echo $HIP_VISIBLE_DEVICES\\n%.0s' 1 2 3 | simple_gpu_scheduler --quiet"
    done = amd.run("sgs", "lease", "--gpus", "2", "--", "sh", "-c", f"{script} | sort -u")
    assert (done.returncode, set(done.stdout.split()) <= {"0", "1"}) == (0, True)


def test_where_amdsmi_does_not_answer(amd: Machine) -> None:
    amdsmi_standin.write(amd.path / "rocm", "34 | AMDSMI_STATUS_DRIVER_NOT_LOADED")
    done = run(amd, SHOW)
    assert done.returncode == 2
    assert "no GPU found: the AMD driver doesn't answer (34 | AMDSMI_STATUS" in done.stderr
    assert "--gpus 0,1,2" in done.stderr
    named = run(amd, SHOW, "--gpus", "x")
    assert (named.returncode, named.stdout) == (0, "x\n")
    assert "warning: the AMD driver doesn't answer" in named.stderr


def test_where_amdsmi_is_not_installed(amd: Machine) -> None:
    del amd.env["PYTHONPATH"]
    done = run(amd, SHOW)
    assert done.returncode == 2
    assert "the extra `amd` of simple-gpu-scheduler" in done.stderr
    named = run(amd, SHOW, "--gpus", "x")
    assert (named.returncode, named.stdout, named.stderr) == (0, "x\n", "")


def test_nvidia_cards_come_first(amd: Machine, library: Path) -> None:
    state = fake_nvml.Machine(library, amd.path)
    state.write(fake_nvml.card("GPU-n"))
    amd.env["LD_LIBRARY_PATH"] += f":{library}"
    amd.env["FAKE_NVML_STATE"] = str(state.path)
    line = "echo $CUDA_VISIBLE_DEVICES ${HIP_VISIBLE_DEVICES-unset}\n"
    for options in ([], ["--gpus", "0"]):
        assert run(amd, line, *options).stdout == "0 unset\n"


@pytest.mark.skipif(os.path.exists("/dev/kfd"), reason="this machine has AMD's driver")
def test_without_a_sign_of_amd_nothing_is_asked(amd: Machine) -> None:
    """amdsmi is there, but would say so if it were imported."""
    (amd.path / "rocm/libamd_smi.so").unlink()
    (amd.path / "rocm/amdsmi.py").write_text("raise SystemExit('imported')")
    done = run(amd, "echo ${HIP_VISIBLE_DEVICES-unset} $CUDA_VISIBLE_DEVICES\n", "--gpus", "0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "unset 0\n", "")


def test_a_card_that_is_gone_is_taken_out_and_its_job_runs_again_elsewhere(amd: Machine) -> None:
    """The job sees its card die, and fails; amdsmi then can't open the card."""
    (amd.path / "next.json").write_text(json.dumps([{"link": 2}, mi300(1)]))
    put(amd, mi300(0), mi300(1))
    dying = "[ -e next.json ] && { mv next.json rocm/cards.json; exit 1; }"
    done = run(amd, f"{dying}; echo $HIP_VISIBLE_DEVICES\n")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "GPU 0: the driver knows it no more; not used any more" in done.stderr


def test_what_jobs_had_is_measured(amd: Machine) -> None:
    """The driver lists a process of the job, a second after its start."""
    (amd.path / "next.json").write_text(json.dumps([mi300(0, **used(4711, 6144))]))
    line = "sed s/4711/$$/ next.json > new.json; mv new.json rocm/cards.json; sleep 2.5\n"
    put(amd, mi300(0))
    done = amd.run("simple_gpu_scheduler", "--vram", "10G", lines=line)
    assert done.returncode == 0, done.stderr
    assert "job 1 had 6 GiB of GPU memory, asked 10 GiB\n" in done.stderr
