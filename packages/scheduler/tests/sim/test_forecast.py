"""When a job will start and how long it runs: told from the plans, and from those before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Running, Snapshot
from simple_gpu_scheduler.policy.orders import ORDERS, PACKING_ORDER
from simple_gpu_scheduler.sim.forecast import starts_in_s
from simple_gpu_scheduler.sim.runtimes import RuntimeHistory, Runtimes
from simple_gpu_scheduler.sim.simulate import job_of, simulate
from simple_gpu_scheduler.sim.trace import Task

POLICY = PipePolicy(order=PACKING_ORDER)

tasks = st.lists(
    st.builds(
        Task,
        submit_s=st.just(0.0),
        runtime_s=st.floats(1, 1000),
        gpus=st.integers(1, 3),
        memory_mib=st.sampled_from([None, 1000, 30_000]),
    ),
    min_size=1,
    max_size=12,
)


@given(tasks, st.sampled_from(list(ORDERS)), st.data())
def test_it_is_what_the_simulation_then_does(
    found: list[Task], order: str, data: st.DataObject
) -> None:
    cards = [Card(str(number), memory_mib=80_000) for number in range(3)]
    jobs = [job_of(t, n, exclusive=False, runtimes_known=False) for n, t in enumerate(found, 1)]
    ran = {one.seq: one.start_s for one in simulate(found, cards, order)}
    job = data.draw(st.sampled_from(jobs))
    runtimes_s = {n: task.runtime_s for n, task in enumerate(found, 1)}
    snapshot = Snapshot(500.0, cards, (), jobs)
    starts = starts_in_s(job, snapshot, PipePolicy(order=order), runtimes_s)
    assert starts == pytest.approx(ran[job.seq])


def running(job: Job, gpu: str, started_s: float) -> Running:
    return Running(job, (gpu,), 0, started_s, started_s)


def test_those_that_run_go_on_from_where_they_are() -> None:
    first, second, third = (Job(n, b"") for n in (1, 2, 3))
    cards = [Card("0"), Card("1")]
    now = Snapshot(100.0, cards, [running(first, "0", 40.0), running(second, "1", 90.0)], [third])
    assert starts_in_s(third, now, POLICY, {1: 80.0, 2: 50.0, 3: 1.0}) == 20.0
    late = {1: 10.0, 2: 50.0, 3: 1.0}  # longer than it should have: it is taken to end now
    assert starts_in_s(third, now, POLICY, late) == 0.0


def test_what_others_hold_is_waited_for_without_end() -> None:
    job = Job(1, b"", gpus=2)
    snapshot = Snapshot(0.0, [Card("0"), Card("1", used_units=job.units)], (), [job])
    assert starts_in_s(job, snapshot, POLICY, {1: 1.0}) is None


def test_jobs_of_one_sweep_tell_of_each_other() -> None:
    history = RuntimeHistory(
        [(b"train --lr 0.1", 10.0), (b"train --lr 3e-4", 30.0), (b"eval", 2.0)]
    )
    assert history.find(b"train --lr 7") == Runtimes([10.0, 30.0], alike=True)
    assert history.find(b"other") == Runtimes([2.0, 10.0, 30.0], alike=False)
    assert RuntimeHistory([]).find(b"x") is None


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=30).map(sorted),
    st.floats(0, 2e6),
    st.floats(0, 2e6),
    st.sampled_from([25, 50, 75]),
)
def test_what_has_run_long_ends_later(
    ordered_s: list[float], elapsed_s: float, more_s: float, percent: float
) -> None:
    runtimes = Runtimes(ordered_s, alike=True)
    ends_s = runtimes.predict_s(percent, elapsed_s)
    assert ends_s >= elapsed_s
    assert ends_s in ordered_s or ends_s == elapsed_s
    assert runtimes.predict_s(percent, elapsed_s + more_s) >= ends_s
    assert runtimes.predict_s(25, elapsed_s) <= ends_s <= runtimes.predict_s(75, elapsed_s) or (
        percent != 50
    )
