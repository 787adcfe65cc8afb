"""The orders: who goes first where not all fit, and on which of the GPUs with room."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import examples
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job, share_units
from simple_gpu_scheduler.policy import dispatch, fit
from simple_gpu_scheduler.policy.explain import holds
from simple_gpu_scheduler.policy.model import Card, Phase, PipePolicy, Plan, Running, Snapshot
from simple_gpu_scheduler.policy.orders import ORDERS, order_of
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.reasons import explain, impossible
from simple_gpu_scheduler.policy.reservation import PASSES_PER_GPU
from worlds import policies, snapshots

GIB = 1024


def whole(seq: int, gpus: int = 1, expected_s: float | None = None) -> Job:
    return Job(seq, b"true", gpus, expected_s=expected_s)


def asking(seq: int, gib: float, gpus: int = 1, expected_s: float | None = None) -> Job:
    return Job(
        seq, b"true", gpus, share_units(64), memory_mib=int(gib * GIB), expected_s=expected_s
    )


def on(job: Job, *gpus: str, started_s: float = 0.0) -> Running:
    return Running(job, gpus, job.seq + 1000, started_s, 0.0)


def card(name: str, gib: int = 40) -> Card:
    return Card(name, memory_mib=gib * GIB)


def decide(
    order: str, cards: list[Card], *busy: Running, waiting: list[Job], placement: str = "default"
) -> Plan:
    policy = PipePolicy(order=order, placement=placement)
    return plan(Snapshot(10.0, cards, busy, waiting), policy)


def starts(decided: Plan) -> list[tuple[int, str]]:
    return [(start.job.seq, "".join(start.gpus)) for start in decided.starts]


def reason(decided: Plan) -> str:
    assert decided.hold is not None
    return explain(decided.hold)


# who goes first

BUSY = (on(asking(1, 30), "0"), on(asking(2, 20), "1"))
FAR = 100  # so far behind a job of one GPU that nobody passes it


@pytest.mark.parametrize("order", ["fifo", "best-fit", "frag"])
def test_a_strict_order_waits_for_its_first_job(order: str) -> None:
    decided = decide(order, [card("0"), card("1")], *BUSY, waiting=[asking(3, 30), asking(4, 1)])
    assert starts(decided) == []
    assert reason(decided) == "needs 30 GiB on one GPU; the most free is 20 GiB on GPU 1"


def test_backfill_leaves_the_gpu_alone_that_is_nearest_to_what_the_first_job_needs() -> None:
    behind = [asking(FAR, 15), asking(FAR + 1, 5), asking(FAR + 2, 5), asking(FAR + 3, 1)]
    decided = decide("backfill", [card("0"), card("1")], *BUSY, waiting=[asking(3, 30), *behind])
    assert starts(decided) == [(FAR + 1, "0"), (FAR + 2, "0")], "not on GPU 1, with 20 GiB free"
    assert decided.hold is not None
    assert decided.hold.job.seq == 3


def test_the_next_jobs_may_pass_one_of_several_gpus_while_it_waits_for_the_last() -> None:
    cards = [card(name) for name in "0123"]
    behind = [whole(number) for number in range(8, 12)]
    decided = decide("backfill", cards, on(whole(1), "0"), waiting=[whole(7, gpus=4), *behind])
    assert starts(decided) == [(8, "1"), (9, "2"), (10, "3")]
    assert decided.hold is not None
    assert decided.hold.job.seq == 7


@pytest.mark.parametrize("gpus", [2, 4])
def test_only_so_many_may_pass_as_its_gpus_allow_then_they_are_kept(gpus: int) -> None:
    cards = [card(name) for name in "0123"]
    busy = [on(whole(1), "0"), on(whole(2), "1"), on(whole(3), "2")]
    last = 7 + PASSES_PER_GPU * gpus
    for number, started in [(last, [(last, "3")]), (last + 1, [])]:
        waiting = [whole(7, gpus=gpus), whole(number)]
        assert starts(decide("backfill", cards, *busy, waiting=waiting)) == started


def test_backfill_by_runtimes_may_use_the_kept_gpu_until_it_is_needed() -> None:
    busy = on(asking(1, 30, expected_s=100), "0")
    waiting = [
        asking(2, 20, expected_s=5),
        asking(3, 10, expected_s=91),  # over at 101: too late, and it would not leave 20 GiB
        asking(4, 10, expected_s=90),  # over at 100
    ]
    cards = [card("0")]
    assert starts(decide("backfill", cards, busy, waiting=waiting)) == [(3, "0")]
    waiting[0] = asking(2, 35, expected_s=5)
    assert starts(decide("backfill", cards, busy, waiting=waiting)) == [(4, "0")]


def test_backfill_trusts_no_runtime_that_is_not_given() -> None:
    busy = on(asking(1, 30), "0")
    waiting = [asking(2, 20, expected_s=5), asking(FAR, 1, expected_s=0.1)]
    assert starts(decide("backfill", [card("0")], busy, waiting=waiting)) == []


def test_a_job_that_is_overdue_is_waited_for_and_nobody_slips_in() -> None:
    busy = on(whole(1, expected_s=5), "0")  # should have ended at 5, now is 10
    waiting = [whole(2, gpus=2), whole(3, expected_s=0.001), whole(4, expected_s=0)]
    assert starts(decide("backfill", [card("0"), card("1")], busy, waiting=waiting)) == []


def test_backfill_beside_a_job_of_several_whole_gpus() -> None:
    cards = [card(name) for name in "0123"]
    busy = [on(whole(1, expected_s=50), "0"), on(whole(2, expected_s=90), "1")]
    waiting = [whole(3, gpus=3), whole(4), whole(5, expected_s=40), whole(6)]
    decided = decide("backfill", cards, *busy, waiting=waiting)
    assert starts(decided) == [(5, "2")], "GPU 3 is for job 3 at 50, GPU 2 until then"


def test_starts_that_are_to_be_apart_are_so_behind_a_held_job_too() -> None:
    cards = [card("0", 80), card("1"), card("2")]
    busy = on(whole(1), "0")
    policy = PipePolicy(delay_s=3.0, order="backfill")
    waiting = [asking(2, 50), whole(3), whole(4)]
    decided = plan(Snapshot(10.0, cards, [busy], waiting), policy)
    assert starts(decided) == [(3, "1")]
    assert decided.wake_s == 13.0


# on which GPUs


def test_best_fit_goes_where_least_is_left() -> None:
    cards = [card("0", 80), card("1", 40), card("2", 24)]
    decided = decide("best-fit", cards, waiting=[asking(1, 20), asking(2, 4), asking(3, 30)])
    assert starts(decided) == [(1, "2"), (2, "2"), (3, "1")]


def test_spread_and_pack_choose_for_any_order() -> None:
    cards = [card("0"), card("1")]
    waiting = [asking(1, 10), asking(2, 10)]
    assert starts(decide("fifo", cards, waiting=waiting)) == [(1, "0"), (2, "1")]
    packed = decide("fifo", cards, waiting=waiting, placement="pack")
    assert starts(packed) == [(1, "0"), (2, "0")]
    spread = decide("best-fit", cards, waiting=waiting, placement="spread")
    assert starts(spread) == [(1, "0"), (2, "1")]


def test_shares_of_units_are_packed_too() -> None:
    third = [Job(n, b"true", units=share_units(3)) for n in range(1, 5)]
    decided = decide("best-fit", [card("0"), card("1")], waiting=third)
    assert starts(decided) == [(1, "0"), (2, "0"), (3, "0"), (4, "1")]


def test_frag_leaves_rests_that_are_of_use() -> None:
    """2 GiB fit best where 12 are free, but there they spoil the place for a job of 12."""
    cards = [card("0", 40), card("1", 40)]
    busy = [on(asking(1, 28), "0"), on(asking(2, 26), "1")]
    waiting = [asking(3, 2), asking(4, 12), asking(5, 12), asking(6, 12)]
    assert starts(decide("best-fit", cards, *busy, waiting=waiting)) == [(3, "0"), (4, "1")]
    decided = decide("frag", cards, *busy, waiting=waiting)
    assert starts(decided) == [(3, "1"), (4, "0"), (5, "1")]


# reasons


def test_reasons_name_what_is_missing() -> None:
    cards = [card("0"), card("3")]
    busy = [on(asking(1, 35), "0"), on(asking(2, 33.8), "3")]
    first = decide("fifo", cards, *busy, waiting=[asking(3, 10)])
    assert reason(first) == "needs 10 GiB on one GPU; the most free is 6.2 GiB on GPU 3"
    both = decide("fifo", cards, busy[0], waiting=[asking(3, 10, gpus=2)])
    assert reason(both) == "needs 10 GiB on each of 2 GPUs; too few have that much free"
    near = decide("fifo", cards, *busy, waiting=[asking(3, 6.202)])
    assert reason(near) == "needs 6350 MiB on one GPU; the most free is 6349 MiB on GPU 3"
    taken = [Card("0", used_units=GPU_UNITS, memory_mib=40 * GIB)]
    assert reason(decide("fifo", taken, waiting=[asking(1, 10)])) == (
        "needs 10 GiB on one GPU, and 0 are free"
    )


def test_those_behind_say_whom_they_wait_for() -> None:
    cards = [card(name) for name in "0123"]
    waiting = [whole(7, gpus=4), whole(FAR), asking(FAR + 1, 50)]
    snapshot = Snapshot(0.0, cards, [on(whole(1), "0")], waiting)
    for order, last in [
        ("fifo", "waits behind job 7, which needs 4 GPUs"),
        ("backfill", "needs 50 GiB on one GPU; the most free is 40 GiB on GPU 0"),
    ]:
        policy = PipePolicy(order=order)
        found = holds(snapshot, policy, plan(snapshot, policy))
        assert [explain(one) for one in found] == [
            "needs 4 GPUs, and 3 are free",
            "waits behind job 7, which needs 4 GPUs",
            last,
        ]


def test_nothing_is_held_where_nothing_is_started_any_more() -> None:
    snapshot = Snapshot(0.0, [card("0")], [], [whole(1)], phase=Phase.DRAINING)
    assert holds(snapshot, PipePolicy(), plan(snapshot, PipePolicy())) == ()


def test_what_no_card_can_hold_is_impossible() -> None:
    cards = [card("0", 40), card("1", 80)]
    assert impossible(asking(1, 80), 2, cards) is None
    assert impossible(asking(1, 40, gpus=2), 2, cards) is None
    assert impossible(asking(1, 100), 2, cards) == (
        "asks for 100 GiB on one GPU, but the largest has 80 GiB (GPU 1)"
    )
    assert impossible(asking(1, 50, gpus=2), 2, cards) == (
        "asks for 50 GiB on each of 2 GPUs, but only 1 has that much"
    )
    assert impossible(asking(1, 1), 1, [Card("0")]) == (
        "asks for 1 GiB on one GPU, but nobody knows how much memory the GPUs have"
    )
    assert impossible(asking(1, 100), 2) is None, "without cards only their number is known"
    assert impossible(whole(1, gpus=3), 2, cards) == "asks for 3 GPUs, but there are only 2"


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (PipePolicy(order="best_fit"), "order 'best_fit'.*backfill, best-fit"),
        (PipePolicy(placement="packed"), "placement 'packed'.*default, pack"),
    ],
)
def test_an_unknown_order_is_named(policy: PipePolicy, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        order_of(policy)


# over random worlds


@given(snapshots(), policies)
def test_no_start_takes_memory_that_is_not_there(snapshot: Snapshot, policy: PipePolicy) -> None:
    free_mib = fit.free_memory_mib(snapshot.cards, snapshot.running)
    for start in plan(snapshot, policy).starts:
        if start.job.memory_mib is not None:
            for gpu in start.gpus:
                free_mib[gpu] -= start.job.memory_mib
                assert free_mib[gpu] >= 0


@given(snapshots(), policies)
def test_starts_keep_the_order_of_the_queue(snapshot: Snapshot, policy: PipePolicy) -> None:
    places = {id(job): place for place, job in enumerate(snapshot.waiting)}
    started = [places[id(start.job)] for start in plan(snapshot, policy).starts]
    assert started == sorted(set(started))


@given(snapshots(), policies)
def test_every_job_that_waits_has_a_reason(snapshot: Snapshot, policy: PipePolicy) -> None:
    decided = plan(snapshot, policy)
    found = holds(snapshot, policy, decided)
    assert len(found) + len(decided.starts) == len(snapshot.waiting)
    assert all(explain(one) for one in found)
    assert decided.hold is None or found[0] == decided.hold


@given(snapshots(), st.sampled_from(["default", "spread"]))
def test_the_quick_way_of_a_plain_queue_is_the_general_one(
    snapshot: Snapshot, placement: str
) -> None:
    policy = PipePolicy(placement=placement)
    quick = plan(snapshot, policy)
    assert (quick.starts, quick.hold) == dispatch.walk(snapshot, policy)[:2]


@given(snapshots(), policies)
def test_the_first_job_that_can_start_is_never_passed_over(
    snapshot: Snapshot, policy: PipePolicy
) -> None:
    """Whatever the order, the head of the queue starts as soon as it has room."""
    policy = policy._replace(delay_s=0.0)
    if not snapshot.waiting:
        return
    head = snapshot.waiting[0]
    free = fit.with_capacity(
        head,
        fit.load(snapshot.cards, snapshot.running),
        fit.free_memory_mib(snapshot.cards, snapshot.running),
    )
    started = plan(snapshot, policy).starts
    assert (len(free) >= head.gpus) == bool(started and started[0].job is head)


@settings(max_examples=examples(0.3))  # each is a plan of hundreds of jobs
@given(snapshots(), st.integers(1, 30_000), st.sampled_from([1, 2, 5, 64]).map(share_units))
def test_there_are_places_for_just_as_many_as_a_plan_starts(
    snapshot: Snapshot, memory_mib: int, units: int
) -> None:
    for one in (Job(1, b"true", 1, units), Job(1, b"true", 1, units, memory_mib=memory_mib)):
        many = [one._replace(seq=seq) for seq in range(1, 64 * len(snapshot.cards) + 2)]
        started = plan(Snapshot(0.0, snapshot.cards, (), many), PipePolicy()).starts
        assert fit.places(one, snapshot.cards) == len(started)


def test_every_order_is_tested_here() -> None:
    assert set(ORDERS) == {
        "fifo", "backfill", "best-fit", "frag", "backfill-best-fit", "backfill-frag",
    }  # fmt: skip
