"""Random worlds for property tests."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job, share_units
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Running, Snapshot
from simple_gpu_scheduler.policy.orders import ORDERS, PLACEMENTS

GPU_NAMES = ("0", "1", "GPU-8f3a", "MIG-77")


def jobs(gpus: int = len(GPU_NAMES)) -> st.SearchStrategy[Job]:
    return st.builds(
        Job,
        seq=st.integers(1, 10**6),
        command=st.just(b"true"),
        gpus=st.integers(1, gpus),
        units=st.sampled_from([1, 1, 1, 2, 3, 5, 64]).map(share_units),
        timeout_s=st.none() | st.floats(0.1, 100),
        memory_mib=st.none() | st.integers(1, 30_000),
        expected_s=st.none() | st.floats(0, 100),
    )


def cards(names: Sequence[str]) -> st.SearchStrategy[list[Card]]:
    """GPUs of which others hold a part."""
    return st.tuples(*(card(name) for name in names)).map(list)


def card(name: str) -> st.SearchStrategy[Card]:
    mib = st.just(0) | st.integers(0, 40_000)
    return st.builds(
        Card,
        name=st.just(name),
        used_units=st.sampled_from([0, 0, 0, GPU_UNITS // 2, GPU_UNITS]),
        memory_mib=st.none() | st.sampled_from([10_000, 24_000, 80_000]),
        leased_mib=mib,
        strangers_mib=mib,
        observed_mib=mib,
        links=st.lists(st.tuples(st.sampled_from(GPU_NAMES), st.integers(0, 18)), max_size=4).map(
            tuple
        ),
        numa=st.none() | st.integers(0, 1),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A state that a run could be in: nothing running exceeds its GPU."""
    from simple_gpu_scheduler.policy import fit

    gpus = draw(cards(GPU_NAMES[: draw(st.integers(1, len(GPU_NAMES)))]))
    now_s = draw(st.floats(0, 1000))
    running: list[Running] = []
    for pid, job in enumerate(draw(st.lists(jobs(len(gpus)), max_size=8)), start=100):
        free = fit.with_capacity(job, fit.load(gpus, running), fit.free_memory_mib(gpus, running))
        if len(free) >= job.gpus:
            started_s = draw(st.floats(0, now_s))
            stopped_s = draw(st.none() | st.floats(started_s, now_s))
            one = Running(job, tuple(free[: job.gpus]), pid, started_s, 0.0, stopped_s)
            running.append(one)
    waiting = draw(st.lists(jobs(len(gpus)), max_size=8))
    last_start_s = draw(st.none() | st.floats(0, now_s))
    return Snapshot(now_s, gpus, tuple(running), waiting, last_start_s)


def policies_of(*orders: str) -> st.SearchStrategy[PipePolicy]:
    return st.builds(
        PipePolicy,
        delay_s=st.sampled_from([0.0, 0.0, 5.0]),
        grace_s=st.floats(0, 20),
        order=st.sampled_from(orders),
        placement=st.sampled_from(PLACEMENTS),
    )


policies = policies_of(*ORDERS)
strict_policies = policies_of(*(name for name, order in ORDERS.items() if not order.backfill))
