from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.job import GPU_UNITS
from simple_gpu_scheduler.leasing import LeaseRecord, Ticket, Want, promises
from simple_gpu_scheduler.patience import LIMIT_S, Patience

NONE: frozenset[str] = frozenset()


def all_of(*uids: int) -> dict[int, frozenset[str]]:
    """They wait, and have nothing."""
    return dict.fromkeys(uids, NONE)


def test_who_could_have_it_and_does_not_take_it_is_passed_over() -> None:
    patience = Patience(10.0)
    assert patience.passed_over(all_of(1), {1}, 100.0) == set()
    assert patience.passed_over(all_of(1, 2), {1, 2}, 109.0) == set()
    assert patience.passed_over(all_of(1, 2), {1, 2}, 110.0) == {1}
    assert patience.passed_over(all_of(1, 2), {1, 2}, 119.0) == {1, 2}
    assert patience.passed_over(all_of(1), (), 120.0) == {1}, "also while others have it"


def test_who_could_not_have_it_meanwhile_begins_anew() -> None:
    patience = Patience(10.0)
    patience.passed_over(all_of(1), {1}, 0.0)
    patience.passed_over(all_of(1), (), 9.0)
    assert patience.passed_over(all_of(1), {1}, 10.0) == set()
    assert patience.passed_over(all_of(1), {1}, 20.0) == {1}


def test_who_takes_something_is_no_idler_however_much_he_waits_for() -> None:
    patience = Patience(10.0)
    taken = [frozenset({f"lease-{number}"}) for number in range(10)]
    for number, one in enumerate(taken):
        assert patience.passed_over({1: one}, {1}, 9.0 * number) == set()
    late_s = 9.0 * len(taken) + 10.0
    assert patience.passed_over(all_of(1), {1}, late_s) == {1}, "giving back is none"
    assert patience.passed_over({1: frozenset({"new"})}, {1}, late_s) == set()
    assert patience.passed_over(all_of(1), {1}, late_s + 1.0) == set()


@given(st.lists(st.tuples(st.floats(0, 5), st.sets(st.integers(1, 3))), max_size=30))
def test_nobody_is_passed_over_before_his_time(turns: list[tuple[float, set[int]]]) -> None:
    patience, now_s, since_s = Patience(), 0.0, dict[int, float]()
    late: set[int] = set()
    for step_s, due in turns:
        now_s += step_s
        since_s = {uid: since_s.get(uid, now_s) for uid in due}
        late |= {uid for uid in due if now_s - since_s[uid] >= LIMIT_S}
        assert patience.passed_over(all_of(1, 2, 3), due, now_s) == late


def test_what_is_due_to_whom() -> None:
    def ticket(since_ns: int, *gpus: str, number: int = 1) -> Ticket:
        return Ticket(f"t{since_ns}", since_ns, "bert", 42, since_ns, Want(gpus, number))

    held = LeaseRecord("1", 1000, "anna", 41, "job", 1.5, ("a",), GPU_UNITS)
    waiting = [ticket(1, "a"), ticket(2, "a", "b", "c", number=2), ticket(3, "b"), ticket(4, "d")]
    found = promises([held], waiting)
    assert [(one.gpus, one.is_due) for one in found] == [
        (("a",), False), (("b", "c"), True), (("b",), False), (("d",), True),
    ]  # fmt: skip
