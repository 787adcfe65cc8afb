"""Which machines are AMD's, and how HIP counts their cards."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.gpus import vendor
from simple_gpu_scheduler.gpus.environ import gpu_environ
from simple_gpu_scheduler.gpus.ids import GpuName, hip_names

CARDS = [GpuName(str(n), f"GPU-{n}{n}") for n in range(3)]


@pytest.mark.parametrize(
    ("rocr", "expected"),
    [
        (None, ["GPU-00", "GPU-11", "GPU-22"]),
        ("2,0", ["GPU-22", "GPU-00"]),
        ("GPU-11,0", ["GPU-11", "GPU-00"]),
        ("1,GPU-11,0", ["GPU-11", "GPU-00"]),
        ("1,7,0", ["GPU-11"]),
        ("", []),
    ],
)
def test_hip_counts_what_rocr_leaves(rocr: str | None, expected: list[str]) -> None:
    found = hip_names(CARDS, rocr)
    assert found == [GpuName(str(n), uuid) for n, uuid in enumerate(expected)]


@given(st.text(alphabet="0123GPU-, ", max_size=12))
def test_whatever_is_inherited_no_card_comes_twice_and_none_is_made_up(rocr: str) -> None:
    uuids = [one.uuid for one in hip_names(CARDS, rocr)]
    assert len(set(uuids)) == len(uuids)
    assert set(uuids) <= {card.uuid for card in CARDS}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the drivers' files are looked for, in place of /dev."""
    monkeypatch.setattr(vendor, "_AMD_FILES", (str(tmp_path / "kfd"),))
    monkeypatch.setattr(vendor, "_NVIDIA_FILES", (str(tmp_path / "nvidiactl"),))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    return tmp_path


def test_a_machine_is_amds_if_its_driver_is_there_and_nvidias_is_not(files: Path) -> None:
    assert not vendor.is_amd_machine({})
    assert "HIP_VISIBLE_DEVICES" not in gpu_environ(["0"])
    (files / "kfd").touch()
    assert vendor.is_amd_machine({})
    assert gpu_environ(["1", "2"])["HIP_VISIBLE_DEVICES"] == "1,2"
    (files / "nvidiactl").touch()
    assert not vendor.is_amd_machine({})
    assert "HIP_VISIBLE_DEVICES" not in gpu_environ(["0"])


def test_a_container_may_bring_the_library(files: Path) -> None:
    (files / "libamd_smi.so").touch()
    assert vendor.is_amd_machine({"LD_LIBRARY_PATH": f"/nowhere::{files}"})
    (files / "libnvidia-ml.so.1").touch()
    assert not vendor.is_amd_machine({"LD_LIBRARY_PATH": f"/nowhere::{files}"})
