"""What leases leave of each card: arithmetic on records, over random worlds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.leasing import (
    LeaseRecord,
    Taken,
    Ticket,
    Want,
    before,
    beyond_capacity,
    describe_holders,
    lease_fields,
    read_lease,
    read_ticket,
    taken,
    ticket_fields,
)
from simple_gpu_scheduler.model import GPU_UNITS, share_units

KEYS = ("GPU-a", "GPU-b", "MIG-c", "3")
HALF = share_units(2)


def lease(name: str, *gpus: str, units: int = GPU_UNITS, parent: str | None = None) -> LeaseRecord:
    return LeaseRecord(name, 1000, "anna", 41, "job", 1.5, gpus, units, None, parent)


def ticket(
    since_ns: int, *gpus: str, number: int = 1, units: int = GPU_UNITS, name: str = ""
) -> Ticket:
    want = Want(gpus, number, units)
    return Ticket(name or f"t{since_ns}", 1001, "bert", 42, since_ns, want)


def units(found: dict[str, Taken]) -> dict[str, int]:
    return {gpu: one.units for gpu, one in found.items()}


def test_shares_add_up() -> None:
    leases = [lease("1", "a", "b", units=HALF), lease("2", "a", units=HALF), lease("3", "c")]
    assert units(taken(leases)) == {"a": GPU_UNITS, "b": HALF, "c": GPU_UNITS}
    assert beyond_capacity(leases) == []
    assert beyond_capacity([*leases, lease("4", "a", units=1)]) == ["a"]


def test_a_waiter_is_promised_the_emptiest_cards_it_could_use() -> None:
    leases = [lease("1", "a"), lease("2", "b", units=HALF)]
    found = units(taken(leases, [ticket(1, "a", "b", "c", units=HALF)]))
    assert found == {"a": GPU_UNITS, "b": HALF, "c": HALF}


def test_for_a_waiter_with_too_few_cards_the_free_ones_are_held_back() -> None:
    found = units(taken([lease("1", "a")], [ticket(1, "a", "b", number=2)]))
    assert found == {"a": GPU_UNITS, "b": GPU_UNITS}


def test_what_we_use_ourselves_is_promised_to_nobody_and_what_we_left_is() -> None:
    leases = [lease("1", "a"), lease("2", "b")]
    found = units(taken(leases, [ticket(1, "a", "b", "c")], ours={"1", "2"}))
    assert found == {"c": GPU_UNITS}
    assert taken(leases, [ticket(1, "a", "b")], ours={"1", "2"}) == {}


def test_those_who_wait_get_different_cards() -> None:
    found = units(taken([], [ticket(1, "a", "b"), ticket(2, "a", "b")]))
    assert found == {"a": GPU_UNITS, "b": GPU_UNITS}


def test_tickets_are_served_in_their_order_and_a_new_one_is_the_last() -> None:
    tickets = [ticket(3, "a"), ticket(1, "a"), ticket(2, "a")]
    assert [one.since_ns for one in before(tickets, tickets[2])] == [1]
    assert [one.since_ns for one in before(tickets, None)] == [1, 2, 3]


def test_a_lease_within_another_is_paid_for_by_that_one() -> None:
    leases = [lease("outer", "a", "b"), lease("inner", "a", parent="outer")]
    assert units(taken(leases)) == {"a": GPU_UNITS, "b": GPU_UNITS}
    assert beyond_capacity(leases) == []


def test_inside_a_lease_its_cards_are_wholly_ours_but_for_siblings() -> None:
    leases = [
        lease("outer", "a", "b", units=HALF),
        lease("other", "a", units=HALF),
        lease("sibling", "a", units=HALF, parent="outer"),
        lease("elsewhere", "c"),
    ]
    assert units(taken(leases, inside="outer")) == {"a": HALF, "c": GPU_UNITS}


def test_a_lease_that_outlived_its_parent_counts_by_itself() -> None:
    assert units(taken([lease("inner", "a", parent="gone")])) == {"a": GPU_UNITS}
    assert units(taken([lease("inner", "a", parent="gone")], inside="gone")) == {"a": GPU_UNITS}


def test_inside_a_lease_nobody_else_waits_for_its_cards() -> None:
    leases = [lease("outer", "a")]
    assert units(taken(leases, [ticket(1, "a", "b")], inside="outer")) == {"b": GPU_UNITS}


def test_who_holds_is_told_in_words() -> None:
    leases = [lease("1", "GPU-a", "GPU-b"), lease("2", "x")]
    text = describe_holders({"GPU-a": "0", "GPU-b": "1"}, leases, [ticket(1, "GPU-a")], str)
    assert text == (
        "GPUs 0, 1 are held by anna (job, pid 41) since 1.5; bert (pid 42) has waited for longer"
    )


names = st.text(max_size=20)
records = st.builds(
    LeaseRecord,
    id=names,
    uid=st.integers(0, 2**31),
    user=names,
    pid=st.integers(1, 2**22),
    kind=st.sampled_from(["job", "shell"]),
    since_s=st.floats(0, 1e10),
    gpus=st.lists(st.sampled_from(KEYS), min_size=1, unique=True).map(tuple),
    units=st.sampled_from([1, 2, 3, 64]).map(share_units),
    memory_mib=st.none() | st.integers(0, 10**6),
    parent=st.none() | names,
)
wants = st.builds(
    Want,
    gpus=st.lists(st.sampled_from(KEYS), min_size=1, unique=True).map(tuple),
    number=st.integers(1, 4),
    units=st.sampled_from([1, 2, 64]).map(share_units),
)
waiters = st.builds(
    Ticket,
    id=names,
    uid=st.integers(0, 2**31),
    user=names,
    pid=st.integers(1, 2**22),
    since_ns=st.integers(0, 2**62),
    want=wants,
)


@given(records)
def test_a_lease_comes_back_from_its_file(record: LeaseRecord) -> None:
    assert read_lease("f", json.loads(json.dumps(lease_fields(record)))) == record


@given(waiters)
def test_a_ticket_comes_back_from_its_file(one: Ticket) -> None:
    assert read_ticket("f", json.loads(json.dumps(ticket_fields(one)))) == one


@given(st.lists(records, max_size=6), st.lists(waiters, max_size=6))
def test_promises_only_take_what_is_free(leases: list[LeaseRecord], tickets: list[Ticket]) -> None:
    held = taken(leases)
    for gpu, one in taken(leases, tickets).items():
        limit = max(GPU_UNITS, held.get(gpu, Taken()).units)
        assert one.units <= limit


@pytest.mark.parametrize(
    "fields",
    [None, [], {}, {"version": 1}, {**lease_fields(lease("1", "a")), "version": 2}]
    + [{**lease_fields(lease("1", "a")), name: None} for name in ("pid", "gpus", "units")],
)
def test_a_file_that_is_none_of_ours_is_an_error_and_no_guess(fields: object) -> None:
    with pytest.raises(SgsError, match="odd name can't be understood"):
        read_lease("odd name", fields)
