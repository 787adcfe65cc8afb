from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.ledger import reservations
from simple_gpu_scheduler.leases.records import LeaseRecord, LeaseRequest, Ticket
from simple_gpu_scheduler.leases.waiter_timeout import LIMIT_S, WaiterTimeouts, Waiting

NONE: frozenset[str] = frozenset()


A, B, C = (Waiting(uid, gpu) for uid, gpu in ((1, "a"), (2, "a"), (1, "b")))


def all_of(*waits: Waiting) -> dict[Waiting, frozenset[str]]:
    """They wait, and have nothing there."""
    return dict.fromkeys(waits, NONE)


def test_who_could_have_it_and_does_not_take_it_is_passed_over() -> None:
    patience = WaiterTimeouts(10.0)
    assert patience.timed_out(all_of(A), {A}, 100.0) == set()
    assert patience.timed_out(all_of(A, B), {A, B}, 109.0) == set()
    assert patience.timed_out(all_of(A, B, C), {A, B}, 110.0) == {A}, "for that GPU alone"
    assert patience.timed_out(all_of(A, B), {A, B}, 119.0) == {A, B}
    assert patience.timed_out(all_of(A), set(), 120.0) == {A}, "also while others have it"


def test_who_could_not_have_it_meanwhile_begins_anew() -> None:
    patience = WaiterTimeouts(10.0)
    patience.timed_out(all_of(A), {A}, 0.0)
    patience.timed_out(all_of(A), set(), 9.0)
    assert patience.timed_out(all_of(A), {A}, 10.0) == set()
    assert patience.timed_out(all_of(A), {A}, 20.0) == {A}


def test_who_takes_something_is_no_idler_however_much_he_waits_for() -> None:
    patience = WaiterTimeouts(10.0)
    taken = [frozenset({f"lease-{number}"}) for number in range(10)]
    for number, one in enumerate(taken):
        assert patience.timed_out({A: one}, {A}, 9.0 * number) == set()
    late_s = 9.0 * len(taken) + 10.0
    assert patience.timed_out(all_of(A), {A}, late_s) == {A}, "giving back is none"
    assert patience.timed_out({A: frozenset({"new"})}, {A}, late_s) == set()
    assert patience.timed_out(all_of(A), {A}, late_s + 1.0) == set()


waits = st.builds(Waiting, st.integers(1, 2), st.sampled_from("ab"))


@given(st.lists(st.tuples(st.floats(0, 5), st.sets(waits)), max_size=30))
def test_nobody_is_passed_over_before_his_time(turns: list[tuple[float, set[Waiting]]]) -> None:
    patience, now_s, since_s = WaiterTimeouts(), 0.0, dict[Waiting, float]()
    everybody = all_of(*(Waiting(uid, gpu) for uid in (1, 2) for gpu in "ab"))
    late: set[Waiting] = set()
    for step_s, due in turns:
        now_s += step_s
        since_s = {one: since_s.get(one, now_s) for one in due}
        late |= {one for one in due if now_s - since_s[one] >= LIMIT_S}
        assert patience.timed_out(everybody, due, now_s) == late


def test_what_is_due_to_whom() -> None:
    def ticket(since_ns: int, *gpus: str, number: int = 1) -> Ticket:
        return Ticket(f"t{since_ns}", since_ns, "bert", 42, since_ns, LeaseRequest(gpus, number))

    held = LeaseRecord("1", 1000, "anna", 41, "job", 1.5, ("a",), GPU_UNITS)
    waiting = [ticket(1, "a"), ticket(2, "a", "b", "c", number=2), ticket(3, "b"), ticket(4, "d")]
    waiting.append(ticket(5, "e", number=3))  # what is never there keeps nothing from others
    found = reservations([held], waiting)
    assert [(one.gpus, one.is_due) for one in found] == [
        (("a",), False), (("b", "c"), True), (("b",), False), (("d",), True),
        (("e",), True),
    ]  # fmt: skip
