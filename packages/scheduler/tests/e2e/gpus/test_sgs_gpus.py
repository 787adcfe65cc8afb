"""`sgs gpus` and the page about the fake driver, by real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fake_nvml
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRequest
from simple_gpu_scheduler.leases.store import FileLeaseStore


@pytest.fixture
def leases(tmp_path: Path) -> str:
    return str(tmp_path / "leases")


@pytest.fixture
def sgs_gpus(
    driver: fake_nvml.Machine, leases: str
) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [fake_nvml.SGS, "gpus", *arguments],
            env=driver.environ(SGS_LEASE_DIR=leases, **environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def started(*command: object, **more: object) -> subprocess.Popen[bytes]:
        one = subprocess.Popen([str(word) for word in command], **more)
        processes.append(one)
        return one

    yield started
    for one in processes:
        one.kill()
        one.wait()


def test_a_table(driver: fake_nvml.Machine, sgs_gpus: Callable) -> None:
    driver.write(
        fake_nvml.card("GPU-a", memory="24576 300"), fake_nvml.card("GPU-b", "ghost 4194305 2000")
    )
    done = sgs_gpus()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "GPU  name      memory MiB  use  temp  power  state",
        "0    Fake GPU   300/24576    -     -      -  free",
        "1    Fake GPU           -    -     -      -  used",
        "     process 4194305, 2000 MiB: can't be seen (ended, or in a container)",
        "",
        "1 of 2 GPUs are free.",
    ]


def test_the_lines_fit_a_terminal_and_are_whole_elsewhere(
    driver: fake_nvml.Machine, sgs_gpus: Callable, leases: str
) -> None:
    driver.write(fake_nvml.card("GPU-a", "name " + 40 * "x"))
    ours, terminal = os.openpty()
    with os.fdopen(ours, "rb") as shown:
        subprocess.run(
            [fake_nvml.SGS, "gpus"],
            env=driver.environ(SGS_LEASE_DIR=leases, COLUMNS="60"),
            stdout=terminal,
            check=True,
            timeout=60,
        )
        lines = os.read(shown.fileno(), 1 << 16).decode().splitlines()
        os.close(terminal)
    assert len(lines[1]) <= 60
    assert "xx..." in lines[1]
    assert 40 * "x" in sgs_gpus(COLUMNS="60").stdout


@pytest.mark.parametrize(
    "name", ["tr ain) S 1", "träin ünïcode", ") (", "训练训练训练训练", "a\nb", "\x1b[31m", "-"]
)
def test_awkward_process_names(
    driver: fake_nvml.Machine, sgs_gpus: Callable, start: Callable, tmp_path: Path, name: str
) -> None:
    program = tmp_path / name
    program.symlink_to(shutil.which("sleep"))
    process = start(program, "1000")
    driver.write(fake_nvml.card("GPU-a", processes=[(process.pid, 5000)]))
    (gpu,) = json.loads(sgs_gpus("--json").stdout)
    (stranger,) = gpu["strangers"]
    cut = name.encode()[:15].decode(errors="replace")  # as the kernel does
    assert (stranger["pid"], stranger["name"]) == (process.pid, cut)
    assert stranger["user"] == Path(f"/proc/{process.pid}").owner()
    lines = sgs_gpus().stdout.splitlines()
    assert len(lines) == 5
    assert lines[2].endswith("5000 MiB, has no lease")
    assert all(line.isprintable() for line in lines)


def test_a_process_that_has_vanished(
    driver: fake_nvml.Machine, sgs_gpus: Callable, start: Callable
) -> None:
    process = start("sleep", "1000")
    driver.write(fake_nvml.card("GPU-a", processes=[(process.pid, 5000)]))
    assert json.loads(sgs_gpus("--json").stdout)[0]["state"] == "used"
    process.kill()
    process.wait()
    assert json.loads(sgs_gpus("--json").stdout)[0]["state"] == "free"


def test_leases_and_strangers(
    driver: fake_nvml.Machine, sgs_gpus: Callable, start: Callable, leases: str
) -> None:
    ours = start("sleep", "1000")
    driver.write(
        fake_nvml.card("GPU-a", processes=[(ours.pid, 5000)]),
        fake_nvml.card("GPU-b", processes=[(ours.pid, 5000)]),
        fake_nvml.card("GPU-c"),
        fake_nvml.card("GPU-d"),
    )
    directory = FileLeaseStore(leases)
    held = [
        directory.add_lease(LeaseRequest(("GPU-a",), 1), "job"),
        directory.add_lease(LeaseRequest(("GPU-c",), 1, GPU_UNITS // 2), "notebook"),
    ]
    first, second, third, fourth = json.loads(sgs_gpus("--json").stdout)
    assert [one["state"] for one in (first, second, third, fourth)] == [
        "leased", "used", "shared", "free"
    ]  # fmt: skip
    assert first["strangers"] == []
    assert [one["pid"] for one in second["strangers"]] == [ours.pid]
    (lease,) = third["leases"]
    assert (lease["kind"], lease["pid"], lease["share"]) == ("notebook", os.getpid(), 0.5)
    text = sgs_gpus().stdout
    assert re.search(r"leased by \S+ since \d\d:\d\d: job, process \d+$", text, re.MULTILINE)
    assert "notebook, process" in text
    for one in held:
        directory.release(one)
    assert [one["leases"] for one in json.loads(sgs_gpus("--json").stdout)] == [[], [], [], []]


def test_a_job_of_the_scheduler_is_no_stranger_on_its_own_card(
    driver: fake_nvml.Machine, leases: str
) -> None:
    driver.write(fake_nvml.card("GPU-a"), fake_nvml.card("GPU-b"))
    job = (
        'printf "%s\\n" "card GPU-a" "process $$ 3000" "card GPU-b" "process $$ 3000" > new; '
        f'mv new "$FAKE_NVML_STATE"; {fake_nvml.SGS} gpus --json'
    )
    done = subprocess.run(
        [Path(fake_nvml.SGS).parent / "simple_gpu_scheduler", "--quiet"],
        input=job,
        env=driver.environ(SGS_LEASE_DIR=leases),
        cwd=driver.path.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    own, other = json.loads(done.stdout)
    assert (own["state"], own["strangers"], own["leases"][0]["kind"]) == ("leased", [], "job")
    assert (other["state"], other["leases"]) == ("used", [])
    assert other["strangers"] == own["processes"]


STUB = """
import enum
class AmdSmiException(Exception): pass
AmdSmiTemperatureType = enum.IntEnum("T", ["EDGE", "HOTSPOT"])
AmdSmiTemperatureMetric = enum.IntEnum("M", ["CURRENT"])
AmdSmiLinkType = enum.IntEnum("L", ["AMDSMI_LINK_TYPE_XGMI"])
def amdsmi_init():
    if {broken}: raise AmdSmiException("AMDSMI_STATUS_DRIVER_NOT_LOADED")
def amdsmi_shut_down(): pass
def amdsmi_get_processor_handles(): return [0]
def amdsmi_get_gpu_device_uuid(card): return "uuid-0"
def amdsmi_get_gpu_asic_info(card): return {{"market_name": "AMD Instinct MI300X"}}
"""


def test_amd_s_cards_where_there_are_none_of_nvidia_s(
    driver: fake_nvml.Machine, sgs_gpus: Callable, tmp_path: Path
) -> None:
    driver.write("init 9\n")
    (tmp_path / "amdsmi.py").write_text(STUB.format(broken=False))
    (gpu,) = json.loads(sgs_gpus("--json", PYTHONPATH=str(tmp_path)).stdout)
    assert (gpu["name"], gpu["state"]) == ("AMD Instinct MI300X", "free")
    (tmp_path / "amdsmi.py").write_text(STUB.format(broken=True) + "# changed")
    done = sgs_gpus(PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sgs: error: the AMD driver doesn't answer (AMDSMI_STATUS_DRIV")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts another user's process")
def test_another_user_s_process(
    driver: fake_nvml.Machine, sgs_gpus: Callable, start: Callable
) -> None:
    process = start("sleep", "1000", user="nobody")
    driver.write(fake_nvml.card("GPU-a", processes=[(process.pid, 5000)]))
    assert f"process {process.pid} (sleep) of nobody, 5000 MiB" in sgs_gpus().stdout


def test_slices_and_a_lost_card(driver: fake_nvml.Machine, sgs_gpus: Callable) -> None:
    uuid = "MIG-12345678-1111-2222-3333-444444444444"
    driver.write(
        fake_nvml.card("GPU-a", f"slice {uuid}", "memory 100"), fake_nvml.card("GPU-b", "lost")
    )
    part, lost = json.loads(sgs_gpus("--json").stdout)
    assert (part["gpu"], part["uuid"], part["parent"]) == ("MIG-12345678", uuid, "GPU-a")
    assert (part["state"], lost["state"], lost["uuid"], lost["free"]) == (
        "free", "fault", "", False
    )  # fmt: skip
    done = subprocess.run(
        [Path(fake_nvml.SGS).parent / "simple_gpu_scheduler", "--quiet", "--gpus", part["gpu"]],
        input="echo $CUDA_VISIBLE_DEVICES",
        env=driver.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("MIG-12345678\n", "")


def test_no_gpu(sgs_gpus: Callable) -> None:
    assert sgs_gpus().stdout == "The driver answers, but has no GPU.\n"
    assert json.loads(sgs_gpus("--json").stdout) == []


def check_no_driver(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sgs: error: no GPU can be seen: the NVIDIA driver doesn't")
    assert reason in done.stderr
    assert "see that nvidia-smi works" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_driver_that_is_not_loaded(
    sgs_gpus: Callable, driver: fake_nvml.Machine, options: list[str]
) -> None:
    driver.write("init 9\n")
    check_no_driver(sgs_gpus(*options), "Driver Not Loaded")


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a driver")
def test_no_driver_at_all(sgs_gpus: Callable, driver: fake_nvml.Machine, tmp_path: Path) -> None:
    driver.library = tmp_path
    check_no_driver(sgs_gpus(), "NVML Shared Library Not Found")


def test_wrong_usage(sgs_gpus: Callable) -> None:
    done = sgs_gpus("--jsn")
    assert done.returncode == 2
    assert done.stderr.startswith("sgs: error: unrecognized arguments: --jsn")


def test_help_names_every_field_of_json(driver: fake_nvml.Machine, sgs_gpus: Callable) -> None:
    driver.write(fake_nvml.card("GPU-a"))
    text = sgs_gpus("--help").stdout
    (gpu,) = json.loads(sgs_gpus("--json").stdout)
    assert [field for field in gpu if not re.search(rf"\b{field}\b", text)] == []


def test_fake_gpus_says_that_its_file_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [fake_nvml.SOURCE.parent / "fake-gpus", "none.state", "true"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fake-gpus: there is no file none.state; expected the state of")
