from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job, share_units
from simple_gpu_scheduler.jobs.similarity import strip_numbers
from simple_gpu_scheduler.memory.estimates import MemoryEstimates

MOST_MIB = 80_000


def job(command: bytes, **asks: object) -> Job:
    return Job(1, command, auto_memory=True)._replace(**asks)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"train --lr 0.1 --bs 32", b"train --lr 3e-4 --bs 64", True),
        (b"train --lr=0.1", b"train --lr=.5", True),
        (b"train --seed -1", b"train --seed 5", True),
        (b"train --model resnet18", b"train --model resnet50", False),
        (b"train --lr 0.1", b"test --lr 0.1", False),
        (b"train 1 # sgs: gpus=2", b"train 2", True),
        (b"./v1.2/train 1", b"./v1.3/train 1", False),
        (b"echo \xff 1", b"echo \xff 2", True),
    ],
)
def test_jobs_of_a_sweep_share_a_template(one: bytes, other: bytes, same: bool) -> None:
    assert (strip_numbers(one) == strip_numbers(other)) == same


def test_alone_until_it_is_known_then_with_a_margin() -> None:
    learned = MemoryEstimates({})
    first = job(b"train 1")
    assert learned.with_estimate(first, MOST_MIB) == first
    assert learned.learn(first, 10_000)
    assert learned.with_estimate(job(b"train 2"), MOST_MIB) == job(
        b"train 2", memory_mib=11_256, units=share_units(64)
    )
    assert learned.with_estimate(job(b"other 2"), MOST_MIB) == job(b"other 2")


@pytest.mark.parametrize("units", [GPU_UNITS, share_units(2)])
def test_what_no_gpu_has_with_the_margin_is_alone_on_its_gpu(units: int) -> None:
    learned = MemoryEstimates({b"train #": 10_000})
    asked = learned.with_estimate(job(b"train 1", units=units), 11_255)
    assert asked == job(b"train 1")
    assert learned.with_estimate(job(b"train 1", units=units), 11_256).memory_mib == 11_256


def test_only_a_higher_peak_is_news() -> None:
    learned = MemoryEstimates({b"train #": 500})
    assert not learned.learn(job(b"train 1"), 400)
    assert not learned.learn(job(b"train 1"), None)
    assert not learned.learn(job(b"train 1")._replace(auto_memory=False), 900)
    assert learned.learn(job(b"train 1"), 600)
    assert learned.peaks_mib == {b"train #": 600}


def test_what_a_line_says_itself_stays() -> None:
    learned = MemoryEstimates({b"train #": 500})
    asked = job(b"train 1", memory_mib=9000)
    assert learned.with_estimate(asked, MOST_MIB) == asked
    half = job(b"train 1", units=share_units(2))
    assert learned.with_estimate(half, MOST_MIB).units == share_units(2)


@given(st.binary(max_size=50), st.integers(0, 100_000), st.integers(0, 200_000))
def test_a_job_gets_no_less_than_was_measured(
    command: bytes, peak_mib: int, most_mib: int
) -> None:
    learned = MemoryEstimates({})
    learned.learn(job(command), peak_mib)
    asked = learned.with_estimate(job(command), most_mib)
    if asked.memory_mib is None:
        assert asked.units == GPU_UNITS
    else:
        assert peak_mib < asked.memory_mib <= most_mib
        assert asked.units < GPU_UNITS
