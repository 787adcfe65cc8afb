"""Pure functions on GPUs: which one is meant, and who is linked to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.gpus.records import (
    Gpu,
    Link,
    LinkEnd,
    Xid,
    find_gpu,
    lease_key,
    normal_pci,
    peers,
    shown_name,
)

GPUS = [
    Gpu(0, "GPU-aaa1"),
    Gpu(1, "GPU-aaa2"),
    Gpu(2, "MIG-b1", parent="GPU-bbb"),
    Gpu(2, "MIG-b12", parent="GPU-bbb"),
    Gpu(3, "", fault="lost"),
]


@pytest.mark.parametrize(
    ("name", "uuid"),
    [("0", "GPU-aaa1"), ("01", "GPU-aaa2"), ("GPU-aaa2", "GPU-aaa2"), ("MIG-b12", "MIG-b12"),
     ("MIG-b1", "MIG-b1"), ("3", "")],
)  # fmt: skip
def test_the_gpu_of_a_name(name: str, uuid: str) -> None:
    gpu = find_gpu(name, GPUS)
    assert gpu is not None
    assert gpu.uuid == uuid


def test_a_uuid_without_a_prefix_is_meant_whole() -> None:
    gpus = [Gpu(0, "uuid-a"), Gpu(1, "uuid-ab"), Gpu(2, "")]
    assert find_gpu("uuid-a", gpus) == gpus[0]
    assert find_gpu("uuid-ab", gpus) == gpus[1]
    assert find_gpu("uuid", gpus) is None


@pytest.mark.parametrize("name", ["2", "4", "-1", "", "GPU-aaa", "MIG-", "aaa1", "gpu-aaa1", "²"])
def test_names_that_mean_no_gpu_or_several(name: str) -> None:
    assert find_gpu(name, GPUS) is None
    assert lease_key(name, GPUS) == name


def test_a_lease_calls_a_gpu_by_its_uuid_where_there_is_one() -> None:
    assert [lease_key(name, GPUS) for name in ("1", "GPU-aaa1", "MIG-b12", "3")] == [
        "GPU-aaa2", "GPU-aaa1", "MIG-b12", "3"
    ]  # fmt: skip
    assert lease_key("0", []) == "0"


@given(st.sampled_from([gpu for gpu in GPUS if gpu.uuid]))
def test_the_shown_name_and_the_uuid_mean_the_gpu(gpu: Gpu) -> None:
    assert find_gpu(shown_name(gpu), GPUS) == gpu
    assert find_gpu(gpu.uuid, GPUS) == gpu


@pytest.mark.parametrize(
    ("nvml", "kernel"),
    [("00000000:17:00.0", "0000:17:00.0"), ("00010000:AB:00.0", "10000:ab:00.0"),
     ("0000:17:00.0", "0000:17:00.0"), ("", ""), ("?", "?")],
)  # fmt: skip
def test_pci_addresses(nvml: str, kernel: str) -> None:
    assert normal_pci(nvml) == kernel


PCI = {"0000:01:00.0": "a", "0000:02:00.0": "b", "0000:03:00.0": "c"}


def to(bus: int, count: int) -> list[LinkEnd]:
    return [LinkEnd(f"00000000:{bus:02X}:00.0", False)] * count


def switched(count: int) -> list[LinkEnd]:
    return [LinkEnd("00000000:E0:00.0", True)] * count


def test_peers_by_cable() -> None:
    ends = {"a": to(2, 4), "b": to(1, 4) + to(3, 2), "c": to(2, 2)}
    assert peers("a", ends, PCI) == [Link("b", 4)]
    assert peers("b", ends, PCI) == [Link("a", 4), Link("c", 2)]


def test_peers_by_a_switch_have_the_fewer_links_of_the_two() -> None:
    ends = {"a": switched(18), "b": switched(17), "c": []}
    assert peers("a", ends, PCI) == [Link("b", 17)]
    assert peers("c", ends, PCI) == []


def test_a_link_to_something_unknown_is_none() -> None:
    assert peers("a", {"a": to(9, 4), "b": to(9, 4)}, PCI) == []


counts = st.integers(0, 18)


@given(st.lists(counts, min_size=3, max_size=3), st.tuples(counts, counts, counts))
def test_links_look_the_same_from_both_ends(
    to_switch: list[int], cables: tuple[int, int, int]
) -> None:
    ab, bc, ca = cables
    ends = {
        "a": switched(to_switch[0]) + to(2, ab) + to(3, ca),
        "b": switched(to_switch[1]) + to(1, ab) + to(3, bc),
        "c": switched(to_switch[2]) + to(1, ca) + to(2, bc),
    }
    seen = {(one, link.uuid): link.nvlinks for one in ends for link in peers(one, ends, PCI)}
    assert seen == {(two, one): nvlinks for (one, two), nvlinks in seen.items()}


def test_a_program_s_own_mistake_is_no_fault_of_the_card() -> None:
    assert not Xid("a", 31).is_fault
    assert Xid("a", 79).is_fault
    assert "Xid 79" in str(Xid("a", 79))
