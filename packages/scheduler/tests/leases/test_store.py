"""What every book of leases does: the locked files of the machine, and the public fake_nvml."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from simple_gpu_scheduler.jobs.job import share_units
from simple_gpu_scheduler.leases.ports import Held, LeaseStore
from simple_gpu_scheduler.leases.records import LeaseRequest
from simple_gpu_scheduler.leases.store import FileLeaseStore
from simple_gpu_scheduler.testing.leases import MemoryLeaseStore, MemoryMachine

WANT = LeaseRequest(("GPU-é", "1"), 2, share_units(2), 1024, ("7", "1"))


@pytest.fixture(params=["files", "fake"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], LeaseStore]:
    """Opens the book once more, as another program would."""
    machine = MemoryMachine()
    if request.param == "fake":
        return lambda: MemoryLeaseStore(machine)
    return lambda: FileLeaseStore(str(tmp_path / "leases"))


def test_a_lease_is_seen_by_all_until_it_is_released(opened: Callable[[], LeaseStore]) -> None:
    ours, others = opened(), opened()
    outer = ours.add_lease(WANT, "job")
    held = ours.add_lease(WANT, "notebook", outer.lease.id)
    ours.release(outer)
    (lease,) = others.leases()
    assert (lease.token, lease.uid, lease.kind) == (held.lease.id, ours.uid, "notebook")
    assert (lease.gpus, lease.units, lease.memory_mib) == (WANT.gpus, WANT.units, 1024)
    assert (lease.parent, lease.numbers, lease.turn) == (outer.lease.id, ("7", "1"), 0)
    ours.release(held)
    assert others.leases() == ours.leases() == []


def test_two_leases_are_two(opened: Callable[[], LeaseStore]) -> None:
    book = opened()
    first, second = book.add_lease(WANT, "job"), book.add_lease(WANT, "job")
    assert first.lease.id != second.lease.id
    book.release(first)
    assert [one.token for one in book.leases()] == [second.lease.id]
    book.release(second)


def test_the_next_job_s_lease_has_another_token(opened: Callable[[], LeaseStore]) -> None:
    ours, others = opened(), opened()
    ours.leases()
    first = ours.add_lease(WANT, "job")
    second = ours.pass_on(first)
    assert second is not None
    third = ours.pass_on(second)
    assert third is not None
    assert len({one.lease.id for one in (first, second, third)}) == 3
    (lease,) = others.leases()
    assert (lease.token, lease.turn) == (third.lease.id, 2)
    assert lease._replace(turn=0).token == first.lease.id
    ours.release(third)
    assert others.leases() == []


def test_who_waits_is_seen_in_order(opened: Callable[[], LeaseStore]) -> None:
    ours, others = opened(), opened()
    assert not others.somebody_waits()
    first, ticket = ours.add_ticket(WANT)
    second, later = others.add_ticket(WANT._replace(number=1))
    assert ticket.since_ns < later.since_ns
    assert sorted(others.tickets()) == sorted([ticket, later])
    assert others.somebody_waits()
    assert others.somebody_waits(later.id)
    ours.release(first)
    assert others.somebody_waits()
    assert not others.somebody_waits(later.id)
    third, anew = ours.add_ticket(WANT, ticket.since_ns)
    assert anew.since_ns == ticket.since_ns
    others.release(second)
    ours.release(third)
    assert not ours.somebody_waits()
    assert ours.tickets() == []


def test_what_others_do_is_a_change_and_what_we_do_is_none(
    opened: Callable[[], LeaseStore],
) -> None:
    ours, others = opened(), opened()
    ours.leases()
    held = ours.add_lease(WANT, "job")
    assert ours.is_unchanged()
    held = ours.pass_on(held) or held
    assert ours.is_unchanged()
    assert not others.is_unchanged()
    theirs = others.add_lease(WANT, "job")
    assert not ours.is_unchanged()
    ours.leases()
    assert ours.is_unchanged()
    others.release(theirs)
    assert not ours.is_unchanged()
    ours.leases()
    ours.release(held)
    assert ours.is_unchanged()


def test_a_lease_is_not_passed_on_if_others_have_come_meanwhile(
    opened: Callable[[], LeaseStore],
) -> None:
    ours, others = opened(), opened()
    ours.leases()
    held = ours.add_lease(WANT, "job")
    theirs = others.add_lease(WANT, "job", held.lease.id)
    assert theirs is not None
    assert ours.pass_on(held) is None
    assert [one.token for one in others.leases()] == [theirs.lease.id], "ours is over"


def test_a_lease_is_not_passed_on_while_others_wait(opened: Callable[[], LeaseStore]) -> None:
    ours, others = opened(), opened()
    ours.leases()
    held = ours.add_lease(WANT, "job")
    _, own = ours.add_ticket(WANT)
    held = ours.pass_on(held, own.id)
    assert held is not None, "we ourselves wait"
    others.add_ticket(WANT)
    assert ours.pass_on(held, own.id) is None
    assert others.leases() == []


def test_nobody_gets_a_part_of_a_lease_that_has_gone_to_the_next_job(
    opened: Callable[[], LeaseStore],
) -> None:
    ours, others = opened(), opened()
    ours.leases()
    first = ours.add_lease(WANT, "job")
    second = ours.pass_on(first)
    with others.allocating():
        assert others.add_lease(WANT, "job", first.lease.id) is None
        within = others.add_lease(WANT, "job", second.lease.id)
    assert {one.token for one in ours.leases()} == {second.lease.id, within.lease.id}
    ours.release(second)
    with others.allocating():
        assert others.add_lease(WANT, "job", second.lease.id) is None
    assert [one.token for one in ours.leases()] == [within.lease.id]


def test_of_a_job_s_last_process_and_the_next_job_only_one_gets_the_cards(tmp_path: Path) -> None:
    """Both at once, without a lock between them, many times over."""
    ours, others = (
        FileLeaseStore(str(tmp_path / "leases")),
        FileLeaseStore(str(tmp_path / "leases")),
    )
    ours.leases()
    held = ours.add_lease(WANT, "job")
    both_ready = threading.Barrier(2)
    within: list[Held | None] = []

    def allocate(parent: str) -> None:
        both_ready.wait(60)
        within.append(others.add_lease(WANT, "job", parent))

    outcomes = set()
    for _ in range(300):
        ours.leases()
        stray = threading.Thread(target=allocate, args=(held.lease.id,))
        stray.start()
        both_ready.wait(60)
        passed_on = ours.pass_on(held)
        stray.join(60)
        theirs = within.pop()
        outcomes.add((passed_on is not None, theirs is not None))
        if theirs is not None:
            others.release(theirs)
        held = passed_on or ours.add_lease(WANT, "job")
    assert (True, True) not in outcomes
    assert outcomes & {(True, False), (False, True)}, "neither has looked at the other"


def test_one_allocates_at_a_time(opened: Callable[[], LeaseStore]) -> None:
    ours, others = opened(), opened()
    order = []

    def allocate() -> None:
        with others.allocating():
            order.append("others")

    thread = threading.Thread(target=allocate)
    with ours.allocating():
        thread.start()
        thread.join(0.05)  # gives them the chance to be wrong
        order.append("ours")
    thread.join(60)
    assert order == ["ours", "others"]
