"""What others may expect of `Devices`.

Three keep it: NVML over the fake driver, amdsmi's stand-in, and the public fake. Slices, Xids and
the memory of a lost GPU are NVIDIA's and the fake's alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

import fake_nvml
from amdsmi_standin import AmdSmiError, binding, mi300, used
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.amd import AmdDevices
from simple_gpu_scheduler.gpus.nvml import NvmlDevices
from simple_gpu_scheduler.gpus.ports import Devices
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess, Xid
from simple_gpu_scheduler.testing.gpus import FakeDevices

FIRST, SECOND = "GPU-11111111", "GPU-22222222"


class Bench(Protocol):
    """Two cards of 1000 MiB, the second with two slices of 400 if it is cut."""

    devices: Devices

    def cut(self) -> None: ...
    def use(self, pid: int, memory_mib: int) -> None: ...
    def lose(self) -> None: ...
    def report(self, number: int) -> None: ...
    def stop_driver(self) -> None: ...
    def start_driver(self) -> None: ...


class RealBench:
    def __init__(self, driver: fake_nvml.Machine) -> None:
        self.machine = driver
        self.first: list[str] = []
        self.second: list[str] = []
        self.driver = ""
        self.write()
        self.devices = NvmlDevices()

    def write(self) -> None:
        cards = [
            fake_nvml.card(uuid, "memory 1000", f"pci 000{n}:01:00.0", *lines)
            for n, (uuid, lines) in enumerate([(FIRST, self.first), (SECOND, self.second)])
        ]
        self.machine.write(self.driver, *cards)

    def cut(self) -> None:
        self.second += ["slice MIG-1", "memory 400", "slice MIG-2", "memory 400"]
        self.write()

    def use(self, pid: int, memory_mib: int) -> None:
        self.first.append(f"process {pid} {memory_mib}")
        self.write()

    def lose(self) -> None:
        self.first.append("lost")
        self.write()

    def report(self, number: int) -> None:
        self.first.append(f"xid {number}")
        self.write()

    def stop_driver(self) -> None:
        self.driver = "init 9\n"
        self.write()

    def start_driver(self) -> None:
        self.driver = ""
        self.write()


class AmdBench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error = ""
        self.cards = [self.card(n, uuid) for n, uuid in enumerate([FIRST, SECOND])]
        monkeypatch.setitem(sys.modules, "amdsmi", binding(self.answer))
        self.devices = AmdDevices()

    @staticmethod
    def card(number: int, uuid: str) -> dict[str, Any]:
        memory = {"vram_total": 1000, "vram_used": 0}
        ids = {"hip_id": number, "hip_uuid": uuid}
        return mi300(number, amdsmi_get_gpu_vram_usage=memory, amdsmi_get_gpu_enumeration_info=ids)

    def answer(self) -> list[dict[str, Any]]:
        if self.error:
            raise AmdSmiError(self.error)
        return self.cards

    def use(self, pid: int, memory_mib: int) -> None:
        memory = {"vram_total": 1000, "vram_used": memory_mib}
        self.cards[0] |= used(pid, memory_mib) | {"amdsmi_get_gpu_vram_usage": memory}

    def lose(self) -> None:
        self.cards[0] = {"link": 2}

    def stop_driver(self) -> None:
        self.error = "Driver Not Loaded"

    def start_driver(self) -> None:
        self.error = ""


class FakeBench:
    def __init__(self) -> None:
        self.devices = FakeDevices(
            Gpu(n, uuid, memory_total_mib=1000, memory_used_mib=0)
            for n, uuid in enumerate([FIRST, SECOND])
        )

    def cut(self) -> None:
        first = self.devices.gpus()[0]
        slices = (Gpu(1, f"MIG-{n}", memory_total_mib=400, parent=SECOND) for n in (1, 2))
        self.devices = FakeDevices([first, *slices])

    def use(self, pid: int, memory_mib: int) -> None:
        first = self.devices.gpus()[0]
        process = GpuProcess(pid, "somebody", "python", memory_mib)
        self.devices.put(first._replace(processes=(process,), memory_used_mib=memory_mib))

    def lose(self) -> None:
        self.devices.lose(FIRST)

    def report(self, number: int) -> None:
        self.devices.report(Xid(FIRST, number))

    def stop_driver(self) -> None:
        self.devices.driver_error = "Driver Not Loaded"

    def start_driver(self) -> None:
        self.devices.driver_error = ""


@pytest.fixture(params=["real", "fake"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from opened(request)


@pytest.fixture(params=["real", "amd", "fake"])
def any_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from opened(request)


def opened(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench: Any
    if request.param == "real":
        bench = RealBench(request.getfixturevalue("loaded"))
    elif request.param == "amd":
        bench = AmdBench(request.getfixturevalue("monkeypatch"))
    else:
        bench = FakeBench()
    yield bench
    bench.devices.close()


def uuids(bench: Bench) -> list[str]:
    return [gpu.uuid for gpu in bench.devices.gpus()]


def test_cards_come_in_their_order(any_bench: Bench) -> None:
    gpus = any_bench.devices.gpus()
    assert [(gpu.number, gpu.uuid, gpu.memory_total_mib) for gpu in gpus] == [
        (0, FIRST, 1000),
        (1, SECOND, 1000),
    ]
    assert all(gpu.parent == gpu.fault == "" and gpu.processes == () for gpu in gpus)


def test_slices_stand_for_their_card(bench: Bench) -> None:
    bench.cut()
    assert [(gpu.number, gpu.uuid, gpu.parent) for gpu in bench.devices.gpus()] == [
        (0, FIRST, ""),
        (1, "MIG-1", SECOND),
        (1, "MIG-2", SECOND),
    ]


def test_every_look_is_a_new_one(any_bench: Bench) -> None:
    assert any_bench.devices.gpus()[0].processes == ()
    any_bench.use(os.getpid(), 300)
    gpu = any_bench.devices.gpus()[0]
    assert [(one.pid, one.memory_mib) for one in gpu.processes] == [(os.getpid(), 300)]
    assert gpu.memory_used_mib == 300


def test_a_lost_card_keeps_its_place_and_name_and_the_others_do_not_suffer(bench: Bench) -> None:
    assert uuids(bench) == [FIRST, SECOND]
    bench.lose()
    lost, other = bench.devices.gpus()
    assert (lost.number, lost.uuid, lost.memory_total_mib) == (0, FIRST, None)
    assert "fallen off the bus" in lost.fault
    assert (other.uuid, other.fault) == (SECOND, "")


def test_a_lost_gpu_is_listed_and_the_others_do_not_suffer(any_bench: Bench) -> None:
    any_bench.lose()
    lost, other = any_bench.devices.gpus()
    assert (lost.number, lost.memory_total_mib) == (0, None)
    assert lost.fault
    assert (other.uuid, other.fault) == (SECOND, "")


def test_xids_come_once_and_only_from_when_one_listens(bench: Bench) -> None:
    bench.report(79)
    assert bench.devices.xids() == ()
    bench.report(48)
    bench.report(31)
    assert bench.devices.xids() == (Xid(FIRST, 48), Xid(FIRST, 31))
    assert bench.devices.xids() == ()


def test_an_xid_of_the_card_is_a_fault_from_then_on(bench: Bench) -> None:
    bench.devices.xids()
    bench.report(31)
    bench.devices.xids()
    assert [gpu.fault for gpu in bench.devices.gpus()] == ["", ""]
    bench.report(48)
    bench.devices.xids()
    first, second = bench.devices.gpus()
    assert "Xid 48" in first.fault
    assert second.fault == ""
    bench.devices.close()
    assert [gpu.fault for gpu in bench.devices.gpus()] == ["", ""]


def test_without_a_driver_it_raises_and_recovers(any_bench: Bench) -> None:
    any_bench.stop_driver()
    for _ in range(2):
        with pytest.raises(SgsError, match="Driver Not Loaded"):
            any_bench.devices.gpus()
    any_bench.start_driver()
    assert uuids(any_bench) == [FIRST, SECOND]


def test_without_a_driver_nobody_listens_to_it(bench: Bench) -> None:
    bench.stop_driver()
    with pytest.raises(SgsError, match="Driver Not Loaded"):
        bench.devices.xids()


def test_a_driver_that_goes_away_and_comes_back(any_bench: Bench) -> None:
    assert uuids(any_bench) == [FIRST, SECOND]
    any_bench.stop_driver()
    with pytest.raises(SgsError, match="Driver Not Loaded"):
        any_bench.devices.gpus()
    any_bench.start_driver()
    assert uuids(any_bench) == [FIRST, SECOND]


def test_closing_is_no_end(any_bench: Bench) -> None:
    any_bench.devices.close()
    any_bench.devices.close()
    assert uuids(any_bench) == [FIRST, SECOND]
