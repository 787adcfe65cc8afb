from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.gpus.records import JobProcess
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.memory.monitor import describe_wrong_gpu, on_other_gpus
from simple_gpu_scheduler.memory.polling import LEAST_S, next_poll_s
from simple_gpu_scheduler.policy.model import Running


def running(started_s: float = 0.0, memory_mib: int | None = None) -> Running:
    return Running(Job(3, b"train", memory_mib=memory_mib), ("2",), 41, started_s, 0.0)


def looks(one: Running, count: int) -> list[float]:
    """The ages of a job at which it is looked at."""
    looked_s, ages = -math.inf, []
    for _ in range(count):
        due_s = next_poll_s([one], looked_s)
        assert due_s is not None
        looked_s = due_s
        ages.append(due_s - one.started_s)
    return ages


def test_looks_at_a_job_that_asks_for_memory() -> None:
    assert looks(running(100.0, 1000), 6) == [0.25, 0.5, 1, 2, 3, 4]
    auto = running()._replace(job=Job(1, b"train", auto_memory=True))
    assert looks(auto, 6) == [0.25, 0.5, 1, 2, 3, 4]


def test_looks_at_any_other_job() -> None:
    assert looks(running(100.0), 8) == [1, 2, 4, 8, 16, 32, 62, 92]


def test_many_short_jobs_are_no_reason_to_ask_all_the_time() -> None:
    assert next_poll_s([running(4.9, 1000)], 5.0) == 5.0 + LEAST_S


def test_without_a_job_there_is_nothing_to_look_at() -> None:
    assert next_poll_s([], 5.0) is None


@given(
    st.lists(st.builds(running, st.floats(0, 5), st.none() | st.just(1)), min_size=1),
    st.just(-math.inf) | st.floats(0, 200),
)
def test_looks_are_apart_and_never_longer_than_half_a_minute(
    jobs: list[Running], looked_s: float
) -> None:
    due_s = next_poll_s(jobs, looked_s)
    assert due_s is not None
    assert due_s >= looked_s + LEAST_S
    youngest_s = max(one.started_s for one in jobs)
    assert due_s <= max(looked_s, youngest_s + 1.0) + 30.0 + 1e-9, "but for rounding"


def process(gpu: str, card: str = "") -> JobProcess:
    return JobProcess(41, 42, "python3", gpu, card or gpu, 100)


@pytest.mark.parametrize(
    ("gpus", "seen", "found"),
    [
        (("2",), [], []),
        (("2",), [process("2")], []),
        (("2",), [process("5")], ["5"]),
        (("2", "3"), [process("3"), process("2"), process("0")], ["0"]),
        (("GPU-a",), [process("GPU-a"), process("0")], ["0"]),
        (("MIG-1",), [process("MIG-1", "0")], []),
        (("MIG-1",), [process("MIG-2", "0")], ["MIG-2"]),
        (("0",), [process("MIG-2", "0")], []),
    ],
)
def test_who_is_elsewhere(gpus: tuple[str, ...], seen: list[JobProcess], found: list[str]) -> None:
    assert [one.gpu for one in on_other_gpus(gpus, seen)] == found


def test_what_is_said_of_it() -> None:
    assert describe_wrong_gpu(running(), process("5")) == (
        "job 3 was given GPU 2, but its process 42 (python3) uses GPU 5; "
        "does it set CUDA_VISIBLE_DEVICES itself?"
    )
    two = running()._replace(gpus=("2", "3"))
    assert describe_wrong_gpu(two, process("5")._replace(name="")).startswith(
        "job 3 was given GPUs 2, 3, but its process 42 uses GPU 5;"
    )
