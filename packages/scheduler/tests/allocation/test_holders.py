"""Who has what of each card, over random worlds: nobody more, and nobody left out."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.allocation.holders import (
    Holders,
    describe_leases,
    describe_tickets,
    who_has,
)
from simple_gpu_scheduler.jobs.job import GPU_UNITS, share_units
from simple_gpu_scheduler.leases.ledger import before, taken
from simple_gpu_scheduler.leases.records import LeaseRecord, LeaseRequest, Ticket

KEYS = ("GPU-a", "GPU-b", "MIG-c", "3")


def lease(name: str, *gpus: str, pid: int = 41, **more: object) -> LeaseRecord:
    return LeaseRecord(name, 1000, "anna", pid, "job", 60.0, gpus, GPU_UNITS)._replace(**more)


def ticket(since_ns: int, *gpus: str, number: int = 1, units: int = GPU_UNITS) -> Ticket:
    return Ticket(f"t{since_ns}", 1001, "bob", 42, since_ns, LeaseRequest(gpus, number, units))


some_keys = st.lists(st.sampled_from(KEYS), min_size=1, unique=True).map(tuple)
units = st.sampled_from([1, 2, 4]).map(share_units)
tokens = st.none() | st.sampled_from(["0:0", "1:0", "2:0", "3:0"])
worlds = st.lists(st.tuples(some_keys, units, tokens), max_size=5)
queues = st.lists(st.tuples(some_keys, units, st.integers(1, 3)), max_size=4)


@given(worlds, queues, tokens)
def test_it_sums_up_to_what_is_taken(
    world: list[tuple[tuple[str, ...], int, str | None]],
    queue: list[tuple[tuple[str, ...], int, int]],
    inside: str | None,
) -> None:
    leases = [
        lease(str(n), *gpus, units=share, parent=parent)
        for n, (gpus, share, parent) in enumerate(world)
    ]
    waiting = [
        ticket(n, *gpus, number=number, units=share)
        for n, (gpus, share, number) in enumerate(queue)
    ]
    found = who_has(leases, waiting, inside)
    around = next((one for one in leases if one.token == inside), None)

    def part(gpu: str, units: int) -> int:
        if around is None or gpu not in around.gpus:
            return units
        return -(-units * GPU_UNITS // around.units)

    sums = {
        gpu: sum(part(gpu, one.units) for one in who.leases)
        + sum(one.request.units for one in who.tickets)
        for gpu, who in found.items()
    }
    expected = taken(leases, before(waiting, None), inside=inside)
    assert sums == {gpu: one.units for gpu, one in expected.items()}


def test_a_lease_within_another_one_has_nothing_of_its_own() -> None:
    outer, inner = lease("o", "GPU-a"), lease("i", "GPU-a", parent="o:0")
    assert who_has([outer, inner], [])["GPU-a"] == Holders((outer,))
    assert who_has([outer, inner], [], "o:0")["GPU-a"] == Holders((inner,))


def test_each_program_is_named_once_from_when_it_began() -> None:
    leases = [
        lease("1", "GPU-a", since_s=90.0),
        lease("2", "GPU-a", since_s=60.0),
        lease("3", "GPU-a", kind="notebook", pid=43, since_s=70.0),
    ]
    assert describe_leases(leases, lambda s: time.strftime("%M:%S", time.gmtime(s))) == (
        "anna's job (pid 41) since 01:00",
        "anna's notebook (pid 43) since 01:10",
    )
    assert describe_tickets([ticket(1, "GPU-a"), ticket(2, "GPU-a")]) == ("bob (pid 42)",)
