"""AMD's cards, over a stand-in for amdsmi that keeps to its documentation."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from amdsmi_standin import AmdSmiError, binding, mi300
from simple_gpu_scheduler.gpus.amd import AmdDevices, NoAmdDriverError
from simple_gpu_scheduler.gpus.records import Link


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., types.ModuleType]:
    def installed(*cards: dict[str, Any]) -> types.ModuleType:
        smi = binding(lambda: list(cards))
        monkeypatch.setitem(sys.modules, "amdsmi", smi)
        return smi

    return installed


def test_what_a_card_tells(install: Callable[..., Any]) -> None:
    processes = [
        {"name": "N/A", "pid": os.getpid(), "mem": 0, "memory_usage": {"vram_mem": 3 << 20}},
        {"name": "x", "pid": 4194305, "mem": 0, "memory_usage": {"vram_mem": "N/A"}},
    ]
    install(mi300(1, amdsmi_get_gpu_process_list=processes), mi300(0))
    with AmdDevices() as devices:
        first, second = devices.gpus()
        assert devices.xids() == ()
    assert (first.number, first.uuid, first.name) == (0, "GPU-0", "AMD Instinct MI300X")
    assert (first.memory_total_mib, first.memory_used_mib) == (196592, 283)
    assert (first.utilisation_percent, first.temperature_c, first.power_w) == (7, 41, 130.0)
    assert (first.numa_node, first.pci_bus_id, first.fault) == (1, "0000:11:00.0", "")
    assert first.links == (Link("GPU-1", 1),)
    assert [(one.pid, one.memory_mib) for one in second.processes] == [
        (os.getpid(), 3),
        (4194305, None),
    ]
    assert second.processes[0].name != "N/A"


def test_what_a_card_lacks_is_none(install: Callable[..., Any]) -> None:
    bare = {"amdsmi_get_gpu_device_uuid": "uuid-a", "link": 2}
    dull = mi300(5, amdsmi_get_power_info={"average_socket_power": "N/A"}, link=2)
    del dull["amdsmi_get_temp_metric"]
    install(bare, dull)
    first, second = AmdDevices().gpus()
    assert (first.number, first.uuid) == (0, "uuid-a")
    assert {first.memory_total_mib, first.temperature_c, first.power_w, first.numa_node} == {None}
    assert (second.number, second.temperature_c, second.power_w) == (5, None, None)
    assert first.links == second.links == ()


def test_faults(install: Callable[..., Any]) -> None:
    install({"link": 2}, mi300(1, amdsmi_get_gpu_total_ecc_count={"uncorrectable_count": 3}))
    silent, broken = AmdDevices().gpus()
    assert "can't open the GPU" in silent.fault
    assert "3 uncorrectable ECC errors" in broken.fault


def test_without_amdsmi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)  # importing it fails
    with pytest.raises(NoAmdDriverError, match=r"not installed.*the extra `amd` of"):
        AmdDevices().gpus()


def test_without_a_driver(install: Callable[..., Any]) -> None:
    def no_driver() -> None:
        raise AmdSmiError("Error code:\n\t34 | AMDSMI_STATUS_DRIVER_NOT_LOADED")

    smi = install(mi300())
    smi.amdsmi_init = no_driver
    devices = AmdDevices()
    with pytest.raises(NoAmdDriverError, match=r"34 \| AMDSMI_STATUS_DRIVER"):
        devices.gpus()
    smi.amdsmi_init = lambda: None
    assert len(devices.gpus()) == 1
