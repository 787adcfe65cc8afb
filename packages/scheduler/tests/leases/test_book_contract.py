"""What every book of leases does: the locked files of the machine, and the public fake."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from simple_gpu_scheduler.adapters.leases import LeaseDir
from simple_gpu_scheduler.lease_ports import LeaseBook
from simple_gpu_scheduler.leasing import Want
from simple_gpu_scheduler.model import share_units
from simple_gpu_scheduler.testing_leases import MemoryBook, MemoryMachine

WANT = Want(("GPU-é", "1"), 2, share_units(2), 1024, ("7", "1"))


@pytest.fixture(params=["files", "fake"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], LeaseBook]:
    """Opens the book once more, as another program would."""
    machine = MemoryMachine()
    if request.param == "fake":
        return lambda: MemoryBook(machine)
    return lambda: LeaseDir(str(tmp_path / "leases"))


def test_a_lease_is_seen_by_all_until_it_is_released(opened: Callable[[], LeaseBook]) -> None:
    ours, others = opened(), opened()
    held = ours.add_lease(WANT, "notebook", "outer:3")
    (lease,) = others.leases()
    assert (lease.token, lease.uid, lease.kind) == (held.lease.id, ours.uid, "notebook")
    assert (lease.gpus, lease.units, lease.memory_mib) == (WANT.gpus, WANT.units, 1024)
    assert (lease.parent, lease.numbers, lease.turn) == ("outer:3", ("7", "1"), 0)
    ours.release(held)
    assert others.leases() == ours.leases() == []


def test_two_leases_are_two(opened: Callable[[], LeaseBook]) -> None:
    book = opened()
    first, second = book.add_lease(WANT, "job"), book.add_lease(WANT, "job")
    assert first.lease.id != second.lease.id
    book.release(first)
    assert [one.token for one in book.leases()] == [second.lease.id]
    book.release(second)


def test_the_next_job_s_lease_has_another_token(opened: Callable[[], LeaseBook]) -> None:
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


def test_who_waits_is_seen_in_order(opened: Callable[[], LeaseBook]) -> None:
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
    opened: Callable[[], LeaseBook],
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
    opened: Callable[[], LeaseBook],
) -> None:
    ours, others = opened(), opened()
    ours.leases()
    held = ours.add_lease(WANT, "job")
    others.add_lease(WANT, "job", held.lease.id)
    assert ours.pass_on(held) is None
    assert held.lease.id in [one.token for one in others.leases()]


def test_a_lease_is_not_passed_on_while_others_allocate(tmp_path: Path) -> None:
    """Else one within it would be taken for the job that is over."""
    ours, others = LeaseDir(str(tmp_path / "leases")), LeaseDir(str(tmp_path / "leases"))
    ours.leases()
    held = ours.add_lease(WANT, "job")
    found = []
    thread = threading.Thread(target=lambda: found.append(ours.pass_on(held)))
    with others.allocating():
        thread.start()
        thread.join(0.05)  # gives it the chance to be wrong
        assert found == []
        others.add_lease(WANT, "job", held.lease.id)
    thread.join(60)
    assert found == [None]


def test_one_allocates_at_a_time(opened: Callable[[], LeaseBook]) -> None:
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
