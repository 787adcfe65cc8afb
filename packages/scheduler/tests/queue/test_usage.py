"""What a queue has used: the arithmetic, exactly."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.queue.attempt_history import AttemptRecord
from simple_gpu_scheduler.queue.usage import (
    BY,
    Period,
    Spread,
    Step,
    gpus_in_use,
    jobs_waiting,
    parts,
    spread,
    steps,
    usage,
)

PERIOD = Period(1000.0, 2000.0)


def run(job: int, **facts: Any) -> AttemptRecord:
    bare = AttemptRecord(
        job, 1, b"train --lr 0.1", "g", "n", "succeeded", 900.0, None, 1100.0, 1200.0, 0, None,
        "", ("0",),
    )  # fmt: skip
    return bare._replace(**facts)


def test_a_period_by_hand() -> None:
    runs = [
        run(1, started_s=500.0, ended_s=1360.0, submitted_s=400.0, memory_mib=9000),
        run(2, gpu_names=("0", "1"), peak_vram_mib=1000, memory_mib=16000, user_s=7200.0,
            system_s=3600.0, max_rss_mib=70),
        run(3, state="", exit_code=1, ended_s=1110.0, max_rss_mib=50),
        run(3, number=2, started_s=1500.0, ended_s=1510.0, exit_code=1, state="failed"),
        run(4, state="lost", exit_code=None),
        run(5, state="cancelled", signal=15, exit_code=None, reason="cancelled"),
        run(6, state="running", ended_s=None, exit_code=None, started_s=1820.0, submitted_s=1000.0,
            not_before_s=1800.0),
    ]  # fmt: skip
    found = usage(runs, PERIOD)
    assert (found.jobs, found.attempts, found.retries) == (6, 7, 1)
    assert (found.running, found.succeeded, found.failed) == (1, 2, 1)
    assert (found.cancelled, found.lost, found.success_rate) == (1, 1, 0.5)
    gpu_s = 360 + 2 * 100 + 10 + 10 + 100 + 100 + 180
    assert found.gpu_hours == pytest.approx(gpu_s / 3600)
    assert found.cpu_hours == 3.0
    assert found.waited == Spread((4 * 200 + 20) / 5, 200.0, 200.0)
    assert found.ran == Spread((860 + 100 + 10 + 10 + 100 + 100) / 6, 100.0, 860.0)
    assert (found.vram_asked_mib, found.vram_peak_mib, found.max_rss_mib) == (16000, 1000, 70)
    assert found.vram_enough_mib == 1356  # 10 % and 256 MiB more than the peak


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({"ended_s": None, "state": "running"}, "running"),
        ({"state": "lost", "exit_code": None}, "lost"),
        ({"state": "", "exit_code": 3}, "failed"),
        ({"state": "", "exit_code": None, "signal": 9}, "failed"),
        ({"state": "", "exit_code": None}, "lost"),
        ({"state": "queued", "exit_code": 0, "reason": "timed out"}, "failed"),
        ({"state": "queued", "exit_code": None, "reason": "can't be started: no"}, "failed"),
        ({"state": "queued", "exit_code": None, "signal": 15, "reason": "cancelled"}, "cancelled"),
    ],
)
def test_how_an_attempt_ended(facts: dict[str, Any], outcome: str) -> None:
    assert run(1, **facts).outcome == outcome


def test_nothing_is_known_of_nothing() -> None:
    found = usage([], PERIOD)
    assert (found.jobs, found.gpu_hours, found.success_rate, found.waited) == (0, 0.0, None, None)
    assert spread([]) is None
    assert gpus_in_use([], PERIOD) == [Step(1000.0, 0), Step(2000.0, 0)]


def test_a_gpu_that_is_shared_is_in_use_once() -> None:
    runs = [
        run(1, started_s=900.0, ended_s=1500.0),
        run(2, started_s=1400.0, ended_s=1600.0),
        run(3, started_s=1550.0, ended_s=None, gpu_names=("0", "1")),
    ]
    assert gpus_in_use(runs, PERIOD) == [Step(1000.0, 1), Step(1550.0, 2), Step(2000.0, 0)]
    assert jobs_waiting(runs, PERIOD) == [
        Step(1000.0, 2), Step(1400.0, 1), Step(1550.0, 0), Step(2000.0, 0)
    ]  # fmt: skip


runs_of_any_kind = st.lists(
    st.builds(
        lambda job, start, length, gpus, group: run(
            job, started_s=start, ended_s=start + length, gpu_names=tuple(gpus), group=group,
            command=f"train {job}".encode(),
        ),
        st.integers(1, 50),
        st.floats(0, 2500),
        st.floats(0, 900),
        st.lists(st.sampled_from("012"), min_size=1, unique=True),
        st.sampled_from(["", "a", "é\n"]),
    ),
    max_size=20,
    unique_by=lambda one: one.job,
)  # fmt: skip


@given(runs_of_any_kind)
def test_the_parts_add_up_to_the_whole(runs: list[AttemptRecord]) -> None:
    whole = usage(runs, PERIOD)
    for by in BY:
        found = parts(runs, by, lambda s: str(s // 500), "me")
        rows = [usage(some, PERIOD) for some in found.values()]
        assert math.fsum(one.gpu_hours for one in rows) == pytest.approx(whole.gpu_hours)
        if by != "gpu":
            assert sum(one.jobs for one in rows) == whole.jobs


@given(runs_of_any_kind)
def test_gpus_in_use_are_never_more_than_there_are(runs: list[AttemptRecord]) -> None:
    found = gpus_in_use(runs, PERIOD)
    assert (found[0].at_s, found[-1].at_s, found[-1].number) == (1000.0, 2000.0, 0)
    names = {gpu for one in runs for gpu in one.gpu_names}
    assert all(0 <= step.number <= len(names) for step in found)
    in_use_s = sum(a.number * (b.at_s - a.at_s) for a, b in itertools.pairwise(found))
    assert in_use_s <= usage(runs, PERIOD).gpu_hours * 3600 + 1e-6


@given(st.lists(st.tuples(st.floats(0, 3000), st.floats(0, 3000)), max_size=9), st.floats(0, 3000))
def test_steps_say_how_many_go_on(spans: list[tuple[float, float]], at_s: float) -> None:
    found = steps(spans, PERIOD)
    if not PERIOD.since_s <= at_s < PERIOD.until_s:
        return
    last = max((step for step in found if step.at_s <= at_s), key=lambda step: step.at_s)
    assert last.number == sum(start_s <= at_s < end_s for start_s, end_s in spans)
