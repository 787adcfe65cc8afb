"""What leases leave of each card: arithmetic on records, over random worlds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.allocation.holders import describe_holders
from simple_gpu_scheduler.jobs.job import GPU_UNITS, share_units
from simple_gpu_scheduler.leases.format import (
    lease_content,
    read_lease,
    read_ticket,
    ticket_content,
    turn_content,
)
from simple_gpu_scheduler.leases.ledger import (
    ancestors,
    before,
    beyond_capacity,
    overlaps,
    share_of,
    taken,
    translate_keys,
    with_believed_start,
)
from simple_gpu_scheduler.leases.records import GpuShare, LeaseRecord, LeaseRequest, Ticket
from simple_gpu_scheduler.leases.store import FileLeaseStore

KEYS = ("GPU-a", "GPU-b", "MIG-c", "3")
HALF = share_units(2)


def lease(name: str, *gpus: str, units: int = GPU_UNITS, parent: str | None = None) -> LeaseRecord:
    return LeaseRecord(name, 1000, "anna", 41, "job", 1.5, gpus, units, None, parent)


def ticket(
    since_ns: int, *gpus: str, number: int = 1, units: int = GPU_UNITS, name: str = ""
) -> Ticket:
    want = LeaseRequest(gpus, number, units)
    return Ticket(name or f"t{since_ns}", 1001, "bert", 42, since_ns, want)


def units(found: dict[str, GpuShare]) -> dict[str, int]:
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
    assert found == {"a": 2 * GPU_UNITS, "b": GPU_UNITS}


def test_what_we_left_is_promised_before_what_we_use_ourselves() -> None:
    leases = [lease("1", "a"), lease("2", "b")]
    found = units(taken(leases, [ticket(1, "a", "b", "c")], ours={"1:0", "2:0"}))
    assert found == {"c": GPU_UNITS}
    assert units(taken(leases, [ticket(1, "a", "b")], ours={"1:0", "2:0"})) == {"a": GPU_UNITS}


def test_a_waiter_for_a_whole_card_is_promised_the_one_that_is_least_used() -> None:
    """Else a scheduler with several jobs a card would never let one run empty."""
    quarter = share_units(4)
    leases = [lease("1", "a", units=HALF), lease("2", "b", units=quarter)]
    found = units(taken(leases, [ticket(1, "a", "b")], ours={"1:0", "2:0"}))
    assert found == {"b": GPU_UNITS}


def test_memory_is_promised_where_it_is_nearest_to_being_enough() -> None:
    slot = share_units(64)

    def small(name: str, gpu: str, mib: int) -> LeaseRecord:
        return lease(name, gpu, units=slot)._replace(memory_mib=mib)

    leases = [small("1", "a", 60_000), small("2", "b", 10_000), small("3", "b", 20_000)]
    want = LeaseRequest(("a", "b"), 1, slot, 40_000)
    waiter = Ticket("t", 1001, "bert", 42, 1, want)
    sizes_mib = {"a": 80_000, "b": 60_000}
    assert taken(leases, [waiter], sizes_mib=sizes_mib)["b"] == GpuShare(3 * slot, 70_000)
    sizes_mib["a"] = 120_000
    assert taken(leases, [waiter], sizes_mib=sizes_mib)["a"] == GpuShare(2 * slot, 100_000)


def test_those_who_wait_get_different_cards() -> None:
    found = units(taken([], [ticket(1, "a", "b"), ticket(2, "a", "b")]))
    assert found == {"a": GPU_UNITS, "b": GPU_UNITS}


def test_tickets_are_served_in_their_order_and_a_new_one_is_the_last() -> None:
    tickets = [ticket(3, "a"), ticket(1, "a"), ticket(2, "a")]
    assert [one.since_ns for one in before(tickets, tickets[2])] == [1]
    assert [one.since_ns for one in before(tickets, None)] == [1, 2, 3]


def test_a_lease_within_another_is_paid_for_by_that_one() -> None:
    leases = [lease("outer", "a", "b"), lease("inner", "a", parent="outer:0")]
    assert units(taken(leases)) == {"a": GPU_UNITS, "b": GPU_UNITS}
    assert beyond_capacity(leases) == []


def test_inside_a_lease_its_cards_are_wholly_ours_but_for_siblings() -> None:
    leases = [
        lease("outer", "a", "b", units=HALF),
        lease("other", "a", units=HALF),
        lease("sibling", "a", units=HALF, parent="outer:0"),
        lease("elsewhere", "c"),
    ]
    assert units(taken(leases, inside="outer:0")) == {"a": GPU_UNITS, "c": GPU_UNITS}, "all of it"


def test_a_lease_that_outlived_its_parent_counts_by_itself() -> None:
    orphan = lease("inner", "a", parent="gone:0")
    assert units(taken([orphan])) == {"a": GPU_UNITS}
    assert units(taken([orphan], inside="gone:0")) == {"a": GPU_UNITS}
    assert units(taken([orphan, lease("outer", "a")], inside="outer:0")) == {"a": GPU_UNITS}


def test_what_is_left_of_one_job_is_no_part_of_the_next_one_s_lease() -> None:
    """The lease was passed on; the first job's child still has a lease within it."""
    passed = lease("outer", "a")._replace(turn=1)
    left = lease("inner", "a", parent="outer:0")
    assert units(taken([passed, left], ours={"outer:1"})) == {"a": GPU_UNITS}
    assert units(taken([passed, left], inside="outer:0")) == {"a": 2 * GPU_UNITS}
    assert units(taken([passed, left], inside="outer:1")) == {"a": GPU_UNITS}


def test_only_the_owner_s_programs_are_within_a_lease() -> None:
    outer = lease("outer", "a", units=HALF)
    inner = lease("inner", "a", units=HALF, parent="outer:0")
    assert units(taken([outer, inner])) == {"a": HALF}
    assert units(taken([outer, inner._replace(uid=0)])) == {"a": HALF}, "sudo"
    assert units(taken([outer, inner._replace(uid=1001)])) == {"a": GPU_UNITS}


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_of_what_a_waiter_says_a_minute_counts(since_ns: int, changed_ns: int) -> None:
    found = with_believed_start(ticket(since_ns, "a"), changed_ns)
    assert found == ticket(since_ns, "a")._replace(since_ns=found.since_ns)
    assert since_ns <= found.since_ns
    assert found.since_ns in (since_ns, changed_ns - 60 * 10**9)
    assert found.since_ns >= changed_ns - 60 * 10**9


def test_a_card_is_one_whoever_sees_the_driver() -> None:
    uuids = {"0": ("GPU-a",), "1": ("GPU-b",), "2": ("MIG-c", "MIG-d")}
    assert translate_keys(("1", "x"), (), {"GPU-a"}, uuids) == ("GPU-b", "x")
    assert translate_keys(("GPU-b", "GPU-c"), ("1", ""), {"1"}, {}) == ("1", "GPU-c")
    assert translate_keys(("GPU-b",), ("1",), {"1", "GPU-b"}, {}) == ("GPU-b",)
    assert translate_keys(("GPU-b",), ("9",), {"GPU-a"}, uuids) == ("GPU-b",), "ours is the truth"
    assert translate_keys(("a",), ("1", "2", "3"), {"2"}, {}) == ("a",)
    assert translate_keys(("2",), (), {"MIG-c"}, uuids) == ("MIG-c", "MIG-d"), (
        "a card has its slices"
    )
    assert translate_keys(("MIG-c", "MIG-d"), ("2", "2"), {"2"}, {}) == ("2",)


def test_who_wants_what_somebody_has_is_known_by_any_name() -> None:
    held = lease("1", "GPU-a")._replace(numbers=("0",))
    assert overlaps(held, LeaseRequest(("0",), 1))
    assert overlaps(held, LeaseRequest(("GPU-a", "GPU-b"), 1))
    assert not overlaps(held, LeaseRequest(("1", "GPU-b"), 1, numbers=("1", "")))
    assert not overlaps(held._replace(numbers=("",)), LeaseRequest(("GPU-b",), 1, numbers=("",)))


def test_a_share_within_a_share_is_that_part_of_it() -> None:
    third = lease("outer", "a", units=share_units(3))
    assert share_of(HALF, third) == share_units(6)
    assert share_of(GPU_UNITS, third) == share_units(3)
    assert share_of(HALF, None) == HALF
    inner = [lease(str(n), "a", units=share_of(HALF, third), parent="outer:0") for n in range(2)]
    assert units(taken([third, *inner], inside="outer:0")) == {"a": GPU_UNITS}
    assert units(taken([third, *inner[:1]], inside="outer:0")) == {"a": HALF}
    assert units(taken([third, *inner])) == {"a": share_units(3)}


def test_those_within_one_lease_wait_for_each_other() -> None:
    outer = lease("outer", "a", "b")
    sibling = lease("x", "a", parent="outer:0")
    waits = ticket(1, "a", "b", number=2)._replace(inside="outer:0", uid=1000)
    found = units(taken([outer, sibling], [waits], inside="outer:0"))
    assert found == {"a": 2 * GPU_UNITS, "b": GPU_UNITS}
    assert units(taken([outer, sibling], [waits])) == {"a": GPU_UNITS, "b": GPU_UNITS}, "held"
    outsider = ticket(1, "a", "b", "c", number=2)
    assert units(taken([outer], [outsider], inside="outer:0")) == {"c": GPU_UNITS}
    pretender = waits._replace(uid=1001)
    assert units(taken([outer], [pretender], inside="outer:0")) == {}, "he says so, no more"


def test_nobody_else_has_a_part_of_our_lease_whatever_his_own_says() -> None:
    outer, strange = lease("outer", "a"), lease("x", "a", parent="gone:0")
    assert units(taken([outer, strange], inside="outer:0")) == {"a": GPU_UNITS}, (
        "an orphan of ours"
    )
    for uid, found in ((1001, {}), (0, {"a": GPU_UNITS})):
        theirs = strange._replace(uid=uid)
        assert units(taken([outer, theirs], inside="outer:0")) == found
        theirs = theirs._replace(parent="outer:0")
        assert units(taken([outer, theirs], inside="outer:0")) == found


def test_ancestors_end_where_one_is_over() -> None:
    chain = [lease("1", "a"), lease("2", "a", parent="1:0"), lease("3", "a", parent="2:0")]
    assert ancestors(chain, "3:0") == chain[::-1]
    assert ancestors(chain[1:], "3:0") == [chain[2], chain[1]]
    assert ancestors(chain, None) == ancestors(chain, "4:0") == []
    circle = [lease("1", "a", parent="2:0"), lease("2", "a", parent="1:0")]
    assert ancestors(circle, "1:0") == circle


def test_inside_a_lease_nobody_else_waits_for_its_cards() -> None:
    leases = [lease("outer", "a")]
    assert units(taken(leases, [ticket(1, "a", "b")], inside="outer:0")) == {"b": GPU_UNITS}


def test_who_holds_is_told_in_words() -> None:
    leases = [lease("1", "GPU-a", "GPU-b"), lease("2", "x")]
    text = describe_holders({"GPU-a": "0", "GPU-b": "1"}, leases, [ticket(1, "GPU-a")], str)
    assert text == (
        "GPUs 0, 1 are leased by anna (job, pid 41) since 1.5; bert (pid 42) has waited for longer"
    )


@pytest.mark.parametrize(
    ("pids", "told"),
    [
        ([1, 1], "u (pid 1) has"),
        ([1, 2], "u (pid 1) and u (pid 2) have"),
        ([1, 2, 3], "u (pid 1), u (pid 2) and u (pid 3) have"),
        (range(1, 60), "u (pid 1), u (pid 2), u (pid 3) and 56 more have"),
    ],
)
def test_dozens_who_wait_are_told_in_a_few_words(pids: Sequence[int], told: str) -> None:
    tickets = [ticket(1, "GPU-a")._replace(user="u", pid=pid) for pid in pids]
    assert describe_holders({"GPU-a": "0"}, [], tickets, str) == f"{told} waited for longer"


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
    numbers=st.lists(names, max_size=3).map(tuple),
    turn=st.integers(0, 10**9),
    start_ticks=st.integers(0, 2**60),
)
wants = st.builds(
    LeaseRequest,
    gpus=st.lists(st.sampled_from(KEYS), min_size=1, unique=True).map(tuple),
    number=st.integers(1, 4),
    units=st.sampled_from([1, 2, 64]).map(share_units),
    memory_mib=st.none() | st.integers(0, 10**6),
    numbers=st.lists(names, max_size=3).map(tuple),
)
waiters = st.builds(
    Ticket,
    id=names,
    uid=st.integers(0, 2**31),
    user=names,
    pid=st.integers(1, 2**22),
    since_ns=st.integers(0, 2**62),
    request=wants,
)


@given(records)
def test_a_lease_comes_back_from_its_file(record: LeaseRecord) -> None:
    content = lease_content(record)
    assert read_lease(record.id, record.uid, record.user, content) == record


def test_no_clock_makes_a_lease_that_nobody_would_believe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: -5.0)
    book = FileLeaseStore(str(tmp_path / "leases"))
    held = book.add_lease(LeaseRequest(("0",), 1), "job")
    assert held is not None
    assert [one.since_s for one in book.leases()] == [0.0]
    book.release(held)


@given(waiters)
def test_a_ticket_comes_back_from_its_file(one: Ticket) -> None:
    assert read_ticket(one.id, one.uid, one.user, ticket_content(one)) == one


@given(records, st.integers(0, 10**9))
def test_a_turn_is_written_in_place(record: LeaseRecord, turn: int) -> None:
    content = lease_content(record)
    last = turn_content(turn)
    found = read_lease("i", 1, "u", content[: -len(last)] + last)
    assert found == record._replace(id="i", uid=1, user="u", turn=turn)


@given(records)
def test_whose_a_file_is_its_owner_tells_and_not_the_file(record: LeaseRecord) -> None:
    found = read_lease("name", 7, "eve", lease_content(record))
    assert (found.id, found.uid, found.user) == ("name", 7, "eve")


@given(st.lists(records, max_size=6), st.lists(waiters, max_size=6))
def test_nothing_is_promised_twice(leases: list[LeaseRecord], tickets: list[Ticket]) -> None:
    """Of all that wait, no more is promised on a card than it has, as far as there are cards."""
    held = taken(leases)
    one = tickets[:1]
    for gpu, found in taken(leases, one).items():
        extra = found.units - held.get(gpu, GpuShare()).units
        assert extra in (0, one[0].request.units if one else 0)
    promised = sum(t.units for t in taken(leases, one).values()) - sum(
        t.units for t in held.values()
    )
    wanted = sum(min(t.request.number, len(t.request.gpus)) * t.request.units for t in one)
    assert promised == wanted


@given(records, st.binary(max_size=30), st.data())
def test_a_damaged_file_is_no_lease_or_a_sound_one(
    record: LeaseRecord, garbage: bytes, data: st.DataObject
) -> None:
    content = lease_content(record)
    at = data.draw(st.integers(0, len(content)))
    until = data.draw(st.integers(at, len(content)))
    try:
        found = read_lease("i", 1, "u", content[:at] + garbage + content[until:])
    except ValueError:
        return
    assert 1 <= found.units <= GPU_UNITS
    assert (found.memory_mib or 0) >= 0
    assert found.kind.isalpha()


GOOD = json.loads(lease_content(lease("1", "a")).partition(b"\n")[0])
BAD = {
    "pid": (None, 0, -1, "1", True, 1e3),
    "gpus": (None, [], "a", [1], {"a": 1}),
    "units": (None, 0, -1, GPU_UNITS + 1, 10**400, 1.5, True),
    "since_s": (None, "x", -1, float("nan"), float("inf"), 1e300),
    "memory_mib": (-1, "1G", 1.5),
    "kind": (None, 3),
}


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000]
    + [
        json.dumps({**GOOD, name: value}).encode()
        for name, values in BAD.items()
        for value in values
    ],
    ids=lambda content: repr(content[:40]),
)
def test_a_file_that_is_none_of_ours_is_no_lease(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_lease("odd name", 0, "root", content)
    with pytest.raises(ValueError, match=r"."):
        read_ticket("odd name", 0, "root", content)


def test_a_later_version_may_add_fields() -> None:
    content = json.dumps({**GOOD, "version": 2, "colour": "red"}).encode()
    assert read_lease("1", 1000, "anna", content) == lease("1", "a")


def test_a_kind_is_a_word() -> None:
    odd = json.dumps({**GOOD, "kind": "\x1b[2Jjob"}).encode()
    assert read_lease("1", 1000, "anna", odd).kind == "unknown"
