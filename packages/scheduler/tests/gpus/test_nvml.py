"""What NVML tells, through the real binding over the fake driver."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest

import fake_nvml
from simple_gpu_scheduler.gpus import processes as gpu_processes
from simple_gpu_scheduler.gpus.ids import GpuName
from simple_gpu_scheduler.gpus.nvml import NvmlDevices, gpu_names
from simple_gpu_scheduler.gpus.records import Gpu, Link


@pytest.fixture
def devices(loaded: fake_nvml.Machine) -> Iterator[NvmlDevices]:
    with NvmlDevices() as found:
        yield found


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_everything_that_is_known(loaded: fake_nvml.Machine, devices: NvmlDevices) -> None:
    loaded.write(
        fake_nvml.card(
            "GPU-a",
            name="NVIDIA H100 80GB HBM3",
            pci="00010000:AB:00.0",
            memory="81559 551",
            utilisation=97,
            temperature=62,
            power=71.5,
            numa=1,
        )
    )
    assert devices.gpus() == (
        Gpu(
            0,
            "GPU-a",
            "NVIDIA H100 80GB HBM3",
            "00010000:AB:00.0",
            memory_total_mib=81559,
            memory_used_mib=551,
            utilisation_percent=97,
            temperature_c=62,
            power_w=71.5,
            numa_node=1 if hasattr(pynvml, "nvmlDeviceGetNumaNodeId") else None,
        ),
    )


def test_what_a_card_does_not_support_is_none(
    loaded: fake_nvml.Machine, devices: NvmlDevices
) -> None:
    loaded.write(fake_nvml.card("GPU-a"))
    assert devices.gpus() == (Gpu(0, "GPU-a", "Fake GPU", "00010000:01:00.0"),)


def test_an_older_binding_lacks_functions(
    loaded: fake_nvml.Machine, devices: NvmlDevices, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded.write(fake_nvml.card("GPU-a", "link GPU-a 1", numa=1, memory=100))
    for name in ("nvmlDeviceGetNumaNodeId", "nvmlDeviceGetNvLinkRemoteDeviceType"):
        monkeypatch.delattr(pynvml, name, raising=False)
    (gpu,) = devices.gpus()
    assert (gpu.numa_node, gpu.memory_total_mib) == (None, 100)


def test_processes_with_user_name_and_memory(
    loaded: fake_nvml.Machine, devices: NvmlDevices, sleeper: subprocess.Popen[bytes]
) -> None:
    loaded.write(fake_nvml.card("GPU-a", memory="1000 50", processes=[(sleeper.pid, 300)]))
    (gpu,) = devices.gpus()
    (process,) = gpu.processes
    assert (process.pid, process.name, process.memory_mib) == (sleeper.pid, "sleep", 300)
    assert process.user == Path(f"/proc/{sleeper.pid}").owner()
    assert process.start_ticks is not None
    assert gpu.memory_used_mib == 350
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # a zombie has no memory
    (gpu,) = devices.gpus()
    assert (gpu.processes, gpu.memory_used_mib) == ((), 50)


def test_a_process_is_listed_once_however_it_uses_the_card(
    loaded: fake_nvml.Machine, devices: NvmlDevices
) -> None:
    me = os.getpid()
    lines = [f"process {me} ?", f"graphics {me} 20", f"mps {me} 30", "ghost 9 ?", "ghost 8 5"]
    loaded.write(fake_nvml.card("GPU-a", *lines))
    (gpu,) = devices.gpus()
    assert [(one.pid, one.memory_mib) for one in gpu.processes] == [(8, 5), (9, None), (me, 30)]


def test_a_process_that_is_not_to_be_seen(loaded: fake_nvml.Machine, devices: NvmlDevices) -> None:
    loaded.write(fake_nvml.card("GPU-a", "ghost 4194305 10"))  # no pid of Linux
    ((process,),) = (gpu.processes for gpu in devices.gpus())
    assert (process.pid, process.user, process.name, process.memory_mib) == (4194305, "", "", 10)
    assert gpu_processes.lineage(4194305).pids == ()


def test_many_processes(loaded: fake_nvml.Machine, devices: NvmlDevices) -> None:
    loaded.write(fake_nvml.card("GPU-a", *(f"ghost {5_000_000 + n} {n}" for n in range(64))))
    assert len(devices.gpus()[0].processes) == 64


def test_where_a_process_comes_from(sleeper: subprocess.Popen[bytes]) -> None:
    found = gpu_processes.lineage(sleeper.pid)
    assert found.pids[:2] == (sleeper.pid, os.getpid())
    assert found.pids[-1] == 1 or os.getpid() == 1
    assert found.session == os.getsid(0)


def test_mig(loaded: fake_nvml.Machine, devices: NvmlDevices) -> None:
    me = os.getpid()
    loaded.write(
        fake_nvml.card(
            "GPU-a",
            f"slice MIG-1\nname H100 MIG 3g.40gb\nmemory 40000 30\nshare 3 60\nprocess {me} 70",
            "slice MIG-2\nmemory 10000",
            memory="81559 551",
            temperature=40,
            utilisation=5,
        ),
        fake_nvml.card("GPU-b", "mig on"),
        fake_nvml.card("GPU-c", "mig off"),
    )
    first, second, uncut, whole = devices.gpus()
    assert (first.number, first.uuid, first.parent) == (0, "MIG-1", "GPU-a")
    assert (first.name, first.temperature_c) == ("H100 MIG 3g.40gb", 40)
    assert (first.memory_total_mib, first.memory_used_mib) == (40000, 100)
    assert [one.pid for one in first.processes] == [me]
    assert first.compute_share == pytest.approx(3 / 7)
    assert first.utilisation_percent is None
    assert (second.memory_total_mib, second.processes, second.compute_share) == (10000, (), None)
    assert "MIG is on" in uncut.fault
    assert (whole.uuid, whole.fault) == ("GPU-c", "")


def test_a_full_card_of_slices(loaded: fake_nvml.Machine, devices: NvmlDevices) -> None:
    loaded.write(fake_nvml.card("GPU-a", *(f"slice MIG-{n}" for n in range(7))))
    assert [gpu.uuid for gpu in devices.gpus()] == [f"MIG-{n}" for n in range(7)]


def test_links(loaded: fake_nvml.Machine, devices: NvmlDevices) -> None:
    loaded.write(
        fake_nvml.card("GPU-a", "link GPU-b 4", "link down 1", "link 00000000:E0:00.0 6"),
        fake_nvml.card("GPU-b", "link GPU-a 4", "link 00000000:E0:00.0 5"),
        fake_nvml.card("GPU-c", "link 00000000:E0:00.0 6"),
        fake_nvml.card("GPU-d"),
    )
    assert [gpu.links for gpu in devices.gpus()] == [
        (Link("GPU-b", 9), Link("GPU-c", 6)),
        (Link("GPU-a", 9), Link("GPU-c", 5)),
        (Link("GPU-a", 6), Link("GPU-b", 5)),
        (),
    ]


def test_the_kernel_knows_the_numa_node(
    loaded: fake_nvml.Machine,
    devices: NvmlDevices,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from simple_gpu_scheduler.gpus import nvml_device

    def open_below(path: str, mode: str) -> object:
        assert path == "/sys/bus/pci/devices/0000:17:00.0/numa_node"
        return open(tmp_path / "numa_node", mode)

    monkeypatch.setattr(nvml_device, "open", open_below, raising=False)
    loaded.write(fake_nvml.card("GPU-a", pci="00000000:17:00.0", numa=5))
    for text, node in [("0\n", 0), ("1\n", 1), ("-1\n", None)]:
        (tmp_path / "numa_node").write_text(text)
        assert devices.gpus()[0].numa_node == node


def test_uncorrectable_errors_are_a_fault(loaded: fake_nvml.Machine, devices: NvmlDevices) -> None:
    loaded.write(fake_nvml.card("GPU-a", ecc=0), fake_nvml.card("GPU-b", ecc=2))
    faults = [gpu.fault for gpu in devices.gpus()]
    assert faults[0] == ""
    assert "2 uncorrectable ECC errors" in faults[1]


def test_a_card_that_was_lost_before_we_came(
    loaded: fake_nvml.Machine, devices: NvmlDevices
) -> None:
    loaded.write(fake_nvml.card("GPU-a", "lost"), fake_nvml.card("GPU-b"))
    lost, other = devices.gpus()
    assert (lost.number, lost.uuid) == (0, "")
    assert "fallen off the bus" in lost.fault
    assert (other.uuid, other.fault) == ("GPU-b", "")
    assert devices.xids() == ()
    assert gpu_names() == [GpuName("0", ""), GpuName("1", "GPU-b")]


def test_an_xid_of_a_card_that_is_then_lost(
    loaded: fake_nvml.Machine, devices: NvmlDevices
) -> None:
    loaded.write(fake_nvml.card("GPU-a"))
    devices.xids()
    loaded.write(fake_nvml.card("GPU-a", "xid 79", "lost"))
    assert [(xid.uuid, xid.number) for xid in devices.xids()] == [("GPU-a", 79)]
    assert "fallen off the bus" in devices.gpus()[0].fault


def test_an_xid_is_a_fault_of_the_card_s_slices(
    loaded: fake_nvml.Machine, devices: NvmlDevices
) -> None:
    loaded.write(fake_nvml.card("GPU-a", "slice MIG-1"))
    devices.xids()
    loaded.write(fake_nvml.card("GPU-a", "xid 48", "slice MIG-1"))
    devices.xids()
    assert "Xid 48" in devices.gpus()[0].fault


def test_nvml_is_taken_up_once(
    loaded: fake_nvml.Machine, devices: NvmlDevices, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = pynvml.nvmlInit
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: (calls.append(1), real()))
    for _ in range(3):
        devices.gpus()
        devices.xids()
    assert len(calls) == 1


def test_a_line_that_can_not_be_understood_is_named(driver: fake_nvml.Machine) -> None:
    driver.write("card GPU-a\ntemprature 3\n")
    done = subprocess.run(
        [fake_nvml.SGS, "gpus"], env=driver.environ(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"fake_nvml: {driver.path}:2: can't understand temprature 3" in done.stderr
    assert "Unknown Error" in done.stderr
