"""The simulation: every job runs once, within capacity, and what is known exactly comes out."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import Job, share_units
from simple_gpu_scheduler.policy import reservation
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Running, Snapshot
from simple_gpu_scheduler.policy.orders import ORDERS
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.sim import synthetic
from simple_gpu_scheduler.sim.metrics import idle_and_busy_s, late, measure
from simple_gpu_scheduler.sim.quantiles import percentile
from simple_gpu_scheduler.sim.simulate import EXCLUSIVE, SimulatedJob, simulate
from simple_gpu_scheduler.sim.trace import (
    Task,
    Trace,
    drop_impossible,
    load,
    sort_tasks,
    take_slice,
    with_load,
)

MEMORY_MIB = 1000
POLICIES = (EXCLUSIVE, *ORDERS)


def machine(gpus: int) -> list[Card]:
    return [Card(str(n), memory_mib=MEMORY_MIB) for n in range(gpus)]


times = st.integers(0, 40).map(lambda n: n / 4)
memories = st.none() | st.integers(1, MEMORY_MIB)


def traces(gpus: int) -> st.SearchStrategy[tuple[Task, ...]]:
    task = st.builds(
        Task, submit_s=times, runtime_s=times, gpus=st.integers(1, gpus), memory_mib=memories
    )
    return st.lists(task, min_size=1, max_size=30).map(sort_tasks)


worlds = st.integers(1, 4).flatmap(lambda gpus: st.tuples(st.just(gpus), traces(gpus)))


@given(worlds, st.sampled_from(POLICIES), st.booleans())
def test_each_job_runs_once_and_no_gpu_beyond_its_capacity(
    world: tuple[int, tuple[Task, ...]], policy: str, runtimes_known: bool
) -> None:
    gpus, tasks = world
    ran = simulate(tasks, machine(gpus), policy, runtimes_known=runtimes_known)
    assert Counter(one.task for one in ran) == Counter(tasks)
    assert all(one.wait_s >= 0 and len(set(one.gpus)) == one.task.gpus for one in ran)
    for at_s in {one.start_s for one in ran}:
        assert_within_capacity([one for one in ran if one.start_s <= at_s < one.end_s], policy)


def assert_within_capacity(at_once: Sequence[SimulatedJob], policy: str) -> None:
    in_use: Counter[str] = Counter()
    for one in at_once:
        whole = policy == EXCLUSIVE or one.task.memory_mib is None
        for gpu in one.gpus:
            in_use[gpu] += MEMORY_MIB if whole else one.task.memory_mib
    assert all(mib <= MEMORY_MIB for mib in in_use.values())


@given(worlds, st.sampled_from([EXCLUSIVE, "fifo", "best-fit", "frag"]))
def test_strict_orders_start_in_the_order_of_submission(
    world: tuple[int, tuple[Task, ...]], policy: str
) -> None:
    gpus, tasks = world
    assert [one.task for one in simulate(tasks, machine(gpus), policy)] == list(tasks)


@given(traces(1))
def test_first_come_first_served_on_one_gpu_is_a_sum(tasks: tuple[Task, ...]) -> None:
    """Start = the later of the submission and the end of the job before (Lindley's recursion)."""
    end_s = 0.0
    for one in simulate(tasks, machine(1), EXCLUSIVE):
        assert one.start_s == max(one.task.submit_s, end_s)
        end_s = one.end_s


@given(worlds)
def test_with_known_runtimes_backfill_does_not_delay_the_first_job(
    world: tuple[int, tuple[Task, ...]],
) -> None:
    """EASY's promise for whole GPUs: the first job that waits starts when it would under fifo."""
    gpus, tasks = world
    whole = tuple(task._replace(memory_mib=None) for task in tasks)
    fifo = simulate(whole, machine(gpus), "fifo")
    first = next((n for n, one in enumerate(fifo) if one.wait_s > 0), None)
    if first is None:
        return
    easy = simulate(whole, machine(gpus), "backfill", runtimes_known=True)
    assert min(one.start_s for one in easy if one.task == whole[first]) <= fifo[first].start_s


@given(
    st.integers(1, 4),
    st.sampled_from([name for name, order in ORDERS.items() if order.backfill]),
    st.lists(
        st.tuples(st.integers(1, 6), st.none() | st.sampled_from([0.0, 0.5, 1.0, 50.0]), memories),
        min_size=1,
        max_size=5,
    ),
    st.none() | st.sampled_from([0.0, 1.0, 50.0]),
    memories,
)
def test_a_held_job_starts_though_small_jobs_never_end_to_come(
    gpus: int,
    order: str,
    small: list[tuple[int, float | None, int | None]],
    expected_s: float | None,
    memory_mib: int | None,
) -> None:
    """However wrong the expected runtimes are, an endless stream of jobs doesn't starve one."""
    world = Stream(gpus, order, small)
    world.run(steps=8)
    big = world.put_first(Job(0, b"", gpus, expected_s=expected_s, memory_mib=memory_mib))
    with few_passes():
        world.run(steps=120, until=big)  # 16 jobs of 6 steps may pass it, at worst in turn
    assert big in world.started


@given(
    st.integers(1, 4),
    st.sampled_from([name for name, order in ORDERS.items() if order.backfill]),
    st.lists(st.tuples(st.integers(1, 6), st.none(), memories), min_size=1, max_size=5),
)
def test_a_job_that_needs_the_whole_machine_is_passed_by_so_many_and_no_more(
    gpus: int, order: str, small: list[tuple[int, float | None, int | None]]
) -> None:
    world = Stream(gpus, order, small)
    world.run(steps=8)
    big = world.put_first(Job(0, b"", gpus))
    before = len(world.started)
    with few_passes():
        world.run(steps=120, until=big)
    passed = world.started[before : world.started.index(big)]
    assert all(job.seq <= big.seq + FEW * gpus for job in passed)


FEW = 2


def few_passes() -> AbstractContextManager[object]:
    return mock.patch.object(reservation, "PASSES_PER_GPU", FEW)


class Stream:
    """Eight small jobs always wait; each runs for some steps, whatever it was expected to."""

    def __init__(
        self, gpus: int, order: str, small: list[tuple[int, float | None, int | None]]
    ) -> None:
        self.cards = machine(gpus)
        self.policy = PipePolicy(order=order)
        self.small = itertools.cycle(small)
        self.runtimes: dict[int, int] = {}
        self.numbers = itertools.count(1)
        self.waiting: list[Job] = []
        self.running: list[Running] = []
        self.started: list[Job] = []
        self.step = 0

    def put_first(self, job: Job) -> Job:
        units = share_units(64) if job.memory_mib else share_units(1)
        self.waiting.insert(0, job._replace(seq=next(self.numbers), units=units))
        return self.waiting[0]

    def run(self, steps: int, until: Job | None = None) -> None:
        for _ in range(steps):
            if until in self.started:
                return
            self.step += 1
            self.running = [one for one in self.running if self.ends_at(one) > self.step]
            while len(self.waiting) < 8:
                self.waiting.append(self.next_job())
            snapshot = Snapshot(float(self.step), self.cards, self.running, list(self.waiting))
            for start in plan(snapshot, self.policy).starts:
                self.waiting.remove(start.job)
                self.started.append(start.job)
                self.running.append(
                    Running(start.job, start.gpus, start.job.seq, float(self.step), 0.0)
                )

    def ends_at(self, one: Running) -> float:
        return one.started_s + self.runtimes.get(one.job.seq, 1)

    def next_job(self) -> Job:
        steps, expected_s, memory_mib = next(self.small)
        seq = next(self.numbers)
        self.runtimes[seq] = steps
        units = share_units(64) if memory_mib else share_units(1)
        return Job(seq, b"", 1, units, memory_mib=memory_mib, expected_s=expected_s)


# metrics


def test_metrics_of_a_trace_that_is_worked_out_by_hand() -> None:
    tasks = (Task(0, 3600, 1, 500), Task(0, 7200, 1), Task(0, 3600, 2), Task(3600, 3600, 1, 250))
    ran = simulate(tasks, machine(2), EXCLUSIVE)
    assert [one.start_s for one in ran] == [0, 0, 7200, 10800]
    found = measure(EXCLUSIVE, ran, 2, MEMORY_MIB, ran)
    assert found.makespan_s == 14400
    assert found.mean_wait_s == (7200 + 7200) / 4
    assert found.p95_wait_s == found.max_wait_s == 7200
    assert found.idle_gpu_h == 1.0, "GPU 0 in the second hour: the third job needs both"
    assert found.packing == pytest.approx((0.5 + 2 + 2 + 0.25) / (1 + 2 + 2 + 1))
    assert found.late == 0


def test_a_job_is_late_that_starts_later_than_in_its_turn_by_more_than_the_longest_run() -> None:
    tasks = [Task(0, 10), Task(0, 5), Task(0, 5)]
    in_turn = [
        SimulatedJob(number, task, start_s, ("0",))
        for number, (task, start_s) in enumerate(zip(tasks, (0, 10, 15), strict=True), 1)
    ]
    assert late(in_turn, in_turn) == 0
    others = [in_turn[0], in_turn[2]._replace(start_s=10)]
    for start_s, count in [(20.0, 0), (20.5, 1)]:
        assert late([*others, in_turn[1]._replace(start_s=start_s)], in_turn) == count


@given(worlds, st.sampled_from(POLICIES))
def test_idle_and_busy_time_are_parts_of_all_time(
    world: tuple[int, tuple[Task, ...]], policy: str
) -> None:
    gpus, tasks = world
    ran = simulate(tasks, machine(gpus), policy)
    idle_s, busy_s = idle_and_busy_s(ran, gpus)
    end_s = max(one.end_s for one in ran)
    assert 0 <= idle_s <= gpus * end_s - busy_s + 1e-6
    used_s = sum(one.task.runtime_s * one.task.gpus for one in ran)
    assert busy_s == pytest.approx(used_s) if policy == EXCLUSIVE else busy_s <= used_s + 1e-6
    assert 0 <= measure(policy, ran, gpus, MEMORY_MIB, ran).packing <= 1


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 95) == 95
    assert percentile([7.0], 95) == 7
    assert percentile([1.0, 2.0], 95) == 2


# jobs


def test_drawn_jobs_repeat_by_seed() -> None:
    mix = synthetic.MIXES["mixed"]
    drawn = synthetic.synthetic(200, 80_000, mix, seed=1)
    assert drawn == synthetic.synthetic(200, 80_000, mix, seed=1)
    assert drawn != synthetic.synthetic(200, 80_000, mix, seed=2)
    assert {task.gpus for task in drawn} == {1, 2, 4}
    assert drawn[0].submit_s == 0
    assert all(task.memory_mib is None or 0 < task.memory_mib < 80_000 for task in drawn)


def test_load_is_what_is_asked_for() -> None:
    tasks = synthetic.synthetic(300, 1000, synthetic.MIXES["mixed"], seed=1)
    assert load(with_load(tasks, 8, 1.5), 8) == pytest.approx(1.5)
    assert {task.submit_s for task in with_load(tasks, 8, float("inf"))} == {0.0}
    at_once = with_load(tasks, 8, float("inf"))
    assert with_load(at_once, 8, 2.0) == at_once, "what came at once can't be told apart"


def test_what_the_machine_cannot_run_is_left_out_and_counted() -> None:
    tasks = (Task(5, 1), Task(6, 1, 3), Task(7, 1, 1, 2000), Task(8, 1, 2, 1000))
    kept = drop_impossible(Trace(tasks), 2, MEMORY_MIB)
    assert kept.tasks == (Task(0, 1), Task(3, 1, 2, 1000))
    assert kept.left_out == {"asks for more GPUs or memory than the machine has": 2}
    assert take_slice(kept, 1, None).tasks == (Task(0, 1, 2, 1000),)


@pytest.mark.parametrize("policy", ["backfill", "fifo"])
def test_thousands_of_waiting_jobs_are_planned(policy: str) -> None:
    tasks = synthetic.synthetic(3000, MEMORY_MIB, synthetic.MIXES["small"], seed=3)
    ran = simulate(with_load(tasks, 2, float("inf")), machine(2), policy)
    assert len(ran) == 3000
