from __future__ import annotations

import signal

import pytest
from hypothesis import given

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job, share_units
from simple_gpu_scheduler.policy import fit
from simple_gpu_scheduler.policy.model import Card, Phase, PipePolicy, Plan, Running, Snapshot
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.reasons import explain
from worlds import policies, snapshots, strict_policies


def job(seq: int, gpus: int = 1, per_gpu: int = 1, timeout_s: float | None = None) -> Job:
    return Job(seq, b"true", gpus, share_units(per_gpu), timeout_s)


def running(
    one: Job, *gpus: str, started_s: float = 0.0, stopped_s: float | None = None
) -> Running:
    return Running(one, gpus, one.seq + 1000, started_s, 0.0, stopped_s)


def decide(
    gpus: str,
    *busy: Running,
    waiting: list[Job],
    now_s: float = 10.0,
    policy: PipePolicy | None = None,
    last_start_s: float | None = None,
    phase: Phase = Phase.OPEN,
) -> Plan:
    snapshot = Snapshot(now_s, [Card(gpu) for gpu in gpus], busy, waiting, last_start_s, phase)
    return plan(snapshot, policy or PipePolicy())


def starts(decided: Plan) -> list[tuple[int, str]]:
    return [(start.job.seq, "".join(start.gpus)) for start in decided.starts]


def test_jobs_start_in_order_on_the_gpus_as_named() -> None:
    decided = decide("210", waiting=[job(1), job(2), job(3), job(4)])
    assert starts(decided) == [(1, "2"), (2, "1"), (3, "0")]
    assert decided.hold is not None
    assert decided.hold.job.seq == 4
    assert explain(decided.hold) == "needs 1 GPU, and 0 are free"


def test_a_job_of_two_gpus_holds_back_those_behind_it() -> None:
    decided = decide("01", running(job(1), "0"), waiting=[job(2, gpus=2), job(3)])
    assert starts(decided) == []
    assert decided.hold is not None
    assert explain(decided.hold) == "needs 2 GPUs, and 1 is free"


def test_slots_of_one_gpu_are_filled_evenly_over_the_gpus() -> None:
    decided = decide("01", waiting=[job(n, per_gpu=2) for n in range(1, 6)])
    assert starts(decided) == [(1, "0"), (2, "1"), (3, "0"), (4, "1")]
    assert decided.hold is not None
    assert explain(decided.hold) == "needs 1 GPU (1/2 of it), and 0 are free"


def test_different_shares_add_up_exactly() -> None:
    shares = [job(1, per_gpu=2), job(2, per_gpu=3), job(3, per_gpu=6)]
    assert starts(decide("0", waiting=[*shares, job(4, per_gpu=64)])) == [
        (1, "0"),
        (2, "0"),
        (3, "0"),
    ]


def test_a_whole_gpu_is_not_given_while_a_part_is_in_use() -> None:
    assert starts(decide("0", running(job(1, per_gpu=64), "0"), waiting=[job(2)])) == []


def test_delay_spaces_the_starts() -> None:
    policy = PipePolicy(delay_s=3)
    decided = decide("01", waiting=[job(1), job(2)], policy=policy)
    assert starts(decided) == [(1, "0")]
    assert decided.wake_s == 13.0
    later = decide("01", waiting=[job(2)], policy=policy, last_start_s=10.0, now_s=13.0)
    assert starts(later) == [(2, "0")]


def test_nothing_starts_once_the_run_drains() -> None:
    assert starts(decide("01", waiting=[job(1)], phase=Phase.DRAINING)) == []


@pytest.mark.parametrize(
    ("one", "now_s", "expected"),
    [
        (running(job(1, timeout_s=5)), 4.9, []),
        (running(job(1, timeout_s=5)), 5.0, [signal.SIGTERM]),
        (running(job(1, timeout_s=5), stopped_s=5.0), 14.9, []),
        (running(job(1, timeout_s=5), stopped_s=5.0), 15.0, [signal.SIGKILL]),
        (running(job(1, timeout_s=5), stopped_s=5.0)._replace(killed=True), 99.0, []),
        (running(job(1)), 1e9, []),
    ],
)
def test_timeout_is_term_then_kill_after_the_grace(
    one: Running, now_s: float, expected: list[int]
) -> None:
    decided = decide("0", one._replace(gpus=("0",)), waiting=[], now_s=now_s)
    assert [stop.signal for stop in decided.stops] == expected


@pytest.mark.parametrize(
    ("phase", "stopped_s", "expected"),
    [
        (Phase.DRAINING, None, []),
        (Phase.ENDING, None, [signal.SIGTERM]),
        (Phase.ENDING, 9.0, []),
        (Phase.KILLING, None, [signal.SIGKILL]),
        (Phase.KILLING, 9.0, [signal.SIGKILL]),
    ],
)
def test_the_end_of_the_run_stops_its_jobs(
    phase: Phase, stopped_s: float | None, expected: list[int]
) -> None:
    decided = decide("0", running(job(1), "0", stopped_s=stopped_s), waiting=[], phase=phase)
    assert [stop.signal for stop in decided.stops] == expected


@given(snapshots(), policies)
def test_no_gpu_goes_beyond_its_capacity(snapshot: Snapshot, policy: PipePolicy) -> None:
    used = fit.load(snapshot.cards, snapshot.running)
    for start in plan(snapshot, policy).starts:
        assert len(set(start.gpus)) == len(start.gpus) == start.job.gpus
        for gpu in start.gpus:
            used[gpu] += start.job.units
    assert all(units <= GPU_UNITS for units in used.values())


@given(snapshots(), strict_policies)
def test_starts_are_the_head_of_the_queue_and_the_next_has_a_reason(
    snapshot: Snapshot, policy: PipePolicy
) -> None:
    decided = plan(snapshot, policy)
    started = len(decided.starts)
    assert [start.job for start in decided.starts] == list(snapshot.waiting[:started])
    if started < len(snapshot.waiting):
        assert decided.hold is not None
        assert decided.hold.job == snapshot.waiting[started]
        assert explain(decided.hold)
    else:
        assert decided.hold is None


@given(snapshots(), policies)
def test_the_plan_is_a_function(snapshot: Snapshot, policy: PipePolicy) -> None:
    assert plan(snapshot, policy) == plan(snapshot, policy)


@given(snapshots(), policies)
def test_it_never_asks_to_look_again_in_the_past(snapshot: Snapshot, policy: PipePolicy) -> None:
    wake_s = plan(snapshot, policy).wake_s
    assert wake_s is None or wake_s >= snapshot.now_s


def test_the_kill_is_planned_with_the_term() -> None:
    decided = decide("0", running(job(1, timeout_s=5), "0"), waiting=[], now_s=6.0)
    assert [stop.signal for stop in decided.stops] == [signal.SIGTERM]
    assert decided.wake_s == 16.0


def test_the_timeout_of_a_job_that_starts_now_is_waited_for() -> None:
    decided = decide("0", waiting=[job(1, timeout_s=5), job(2)], now_s=6.0)
    assert starts(decided) == [(1, "0")]
    assert decided.wake_s == 11.0
