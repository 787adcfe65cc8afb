"""Who has a GPU, and who is a stranger on it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.allocation.occupancy import (
    foreign_processes,
    is_busy,
    leases_of,
    occupancy,
)
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess, Lineage
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord


def lease(
    pid: int, *gpus: str, user: str = "anna", units: int = GPU_UNITS, parent: str | None = None
) -> LeaseRecord:
    return LeaseRecord(f"lease-{pid}", 1000, user, pid, "job", 100.0, gpus, units, None, parent)


#: 10 is a scheduler in session 9; 11 its job, with a child 12; 13 was started from the terminal
#: of 10; 14 leads a session (a shell), and left 15 in it.
FAMILY = {
    10: Lineage((10, 9, 1), 9, "anna"),
    11: Lineage((11, 10, 9, 1), 11, "anna"),
    12: Lineage((12, 11, 10, 9, 1), 11, "anna"),
    13: Lineage((13, 1), 9, "anna"),
    14: Lineage((14, 1), 14, "anna"),
    15: Lineage((15, 1), 14, "anna"),
    20: Lineage((20, 1), 20, "anna"),
}


def family(pid: int) -> Lineage:
    return FAMILY.get(pid, Lineage())


def gpu(*pids: int, user: str = "anna", memory_mib: int | None = 2000) -> Gpu:
    processes = tuple(GpuProcess(pid, user, "python", memory_mib) for pid in pids)
    return Gpu(0, "GPU-a", processes=processes, utilisation_percent=50)


def pids(found: tuple[GpuProcess, ...]) -> list[int]:
    return [one.pid for one in found]


def test_without_leases_everybody_is_a_stranger() -> None:
    assert pids(foreign_processes(gpu(10, 20), [], family)) == [10, 20]


@pytest.mark.parametrize(("pid", "holder"), [(10, 10), (11, 10), (12, 10), (14, 14), (15, 14)])
def test_the_holder_its_descendants_and_the_session_that_it_leads_are_none(
    pid: int, holder: int
) -> None:
    assert foreign_processes(gpu(pid), [lease(holder, "GPU-a")], family) == ()


def test_a_process_from_the_same_terminal_is_a_stranger() -> None:
    assert pids(foreign_processes(gpu(13), [lease(10, "GPU-a")], family)) == [13]


def test_others_on_a_leased_card_are_strangers() -> None:
    assert pids(foreign_processes(gpu(11, 20), [lease(10, "GPU-a")], family)) == [20]


def test_a_lease_of_another_card_does_not_count() -> None:
    assert pids(foreign_processes(gpu(11), [lease(10, "GPU-b")], family)) == [11]


def test_a_process_that_is_gone_or_hidden_is_a_stranger() -> None:
    assert pids(foreign_processes(gpu(99, user=""), [lease(10, "GPU-a")], family)) == [99]


def test_a_lease_that_outlives_its_holder_is_its_user_s() -> None:
    orphaned = [lease(98, "GPU-a")]
    assert foreign_processes(gpu(20), orphaned, family) == ()
    assert pids(foreign_processes(gpu(20, user="bob"), orphaned, family)) == [20]


def test_the_largest_stranger_comes_first() -> None:
    small, big = GpuProcess(1, "a", "x", 10), GpuProcess(2, "a", "x", 20)
    unknown = GpuProcess(3, "a", "x", None)
    one = Gpu(0, "GPU-a", processes=(unknown, small, big))
    assert pids(foreign_processes(one, [], family)) == [2, 1, 3]


def test_leases_by_uuid_by_number_and_of_the_whole_card() -> None:
    card, part = Gpu(3, "GPU-a"), Gpu(3, "MIG-1", parent="GPU-a")
    by_uuid, by_number = lease(1, "GPU-a"), lease(2, "7", "3")
    by_slice = lease(4, "MIG-1")
    every = [by_uuid, by_number, by_slice]
    assert leases_of(card, every) == (by_uuid, by_number)
    assert leases_of(part, every) == (by_uuid, by_slice)
    assert leases_of(Gpu(9, ""), [lease(1, "")]) == ()


@pytest.mark.parametrize(
    ("memory_mib", "utilisation", "busy"),
    [(1023, 9, False), (1024, 0, True), (0, 10, True), (None, 0, True), (500, None, False)],
)
def test_a_small_idle_stranger_does_not_keep_a_card(
    memory_mib: int | None, utilisation: int | None, busy: bool
) -> None:
    one = gpu(20, memory_mib=memory_mib)._replace(utilisation_percent=utilisation)
    assert is_busy(one, one.processes) is busy
    assert occupancy(one, [], family).state == ("used" if busy else "free")


def test_the_limits_are_the_caller_s() -> None:
    one = gpu(20, memory_mib=2000)
    state = occupancy(one, [], family, idle_memory_mib=3000, idle_utilisation_percent=60).state
    assert state == "free"


def test_strangers_count_together() -> None:
    one = gpu(20, 21, memory_mib=600)._replace(utilisation_percent=0)
    assert is_busy(one, one.processes)


def test_utilisation_without_a_process_keeps_nobody_off() -> None:
    assert occupancy(Gpu(0, "GPU-a", utilisation_percent=100), [], family).state == "free"


@pytest.mark.parametrize(("used_mib", "hidden_mib"), [(2547, 0), (2548, 1024), (70_500, 68_976)])
def test_memory_of_nobody_beyond_the_driver_s_is_a_stranger_s(
    used_mib: int, hidden_mib: int
) -> None:
    one = gpu(20, memory_mib=500)._replace(utilisation_percent=0, memory_used_mib=used_mib)
    seen = occupancy(one, [], family)
    assert (seen.state, seen.unnamed_mib) == ("used" if hidden_mib else "free", hidden_mib)
    half = lease(10, "GPU-a", units=GPU_UNITS // 2)
    assert occupancy(one, [half], family).state == "shared", "it may be the holder's"
    assert occupancy(one, [], family, idle_memory_mib=70_000).state == "free"


def test_where_a_process_has_unknown_memory_the_rest_may_be_its() -> None:
    one = gpu(20, memory_mib=None)._replace(memory_used_mib=70_000)
    assert occupancy(one, [], family).unnamed_mib == 0


def test_states() -> None:
    half = GPU_UNITS // 2
    held = [lease(10, "GPU-a", units=half)]
    assert occupancy(gpu(), held, family).state == "shared"
    assert occupancy(gpu(11), held, family).state == "shared"
    assert occupancy(gpu(11, 20), held, family).state == "used"
    assert occupancy(gpu(), [*held, lease(20, "GPU-a", units=half)], family).state == "leased"
    assert occupancy(gpu()._replace(fault="lost"), held, family).state == "fault"


def test_the_use_of_a_leased_card_is_its_holder_s() -> None:
    one = gpu(20, memory_mib=100)
    assert occupancy(one, [lease(10, "GPU-a", units=GPU_UNITS // 2)], family).state == "shared"


def test_a_lease_within_a_lease_is_paid_for() -> None:
    half = GPU_UNITS // 2
    inner = lease(11, "GPU-a", units=half, parent="lease-10")
    assert occupancy(gpu(), [lease(10, "GPU-a", units=half), inner], family).state == "shared"


@given(st.sets(st.sampled_from(sorted(FAMILY))), st.sets(st.sampled_from(sorted(FAMILY))))
def test_more_leases_never_make_more_strangers(on_card: set[int], holders: set[int]) -> None:
    one = gpu(*sorted(on_card))
    leases = [lease(pid, "GPU-a") for pid in sorted(holders)]
    found = [set(pids(foreign_processes(one, leases[:n], family))) for n in range(len(leases) + 1)]
    assert all(after <= before for before, after in itertools.pairwise(found))
    assert not found[-1] & holders
