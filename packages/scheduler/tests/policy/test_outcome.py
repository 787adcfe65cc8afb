"""What becomes of a job whose attempt has ended: the decision of the pipe and of the queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job, share_units
from simple_gpu_scheduler.policy.outcome import (
    AttemptResult,
    OutcomeKind,
    decide,
    with_more_memory,
)

SHARE = share_units(64)


def job(memory_mib: int | None, units: int = SHARE, tries: int = 1, attempt: int = 1) -> Job:
    return Job(1, b"train", 1, units, None, tries, attempt, memory_mib)


@pytest.mark.parametrize(
    ("ended", "verdict", "again"),
    [
        (AttemptResult(job(None), True), OutcomeKind.SUCCEEDED, None),
        (AttemptResult(job(None), True, cancelled=True), OutcomeKind.CANCELLED, None),
        (
            AttemptResult(job(None), False, cancelled=True, gpu_fault="x"),
            OutcomeKind.CANCELLED,
            None,
        ),
        (AttemptResult(job(None), False), OutcomeKind.FAILED, None),
        (
            AttemptResult(job(None, tries=2), False),
            OutcomeKind.RETRY,
            job(None, tries=2, attempt=2),
        ),
        (AttemptResult(job(None, tries=2, attempt=2), False), OutcomeKind.FAILED, None),
        (
            AttemptResult(job(None, tries=0), False),
            OutcomeKind.RETRY,
            job(None, tries=0, attempt=2),
        ),
        (AttemptResult(job(None), False, gpu_fault="x"), OutcomeKind.AFTER_FAULT, job(None)),
        (
            AttemptResult(job(100), False, out_of_memory=True, most_mib=1000),
            OutcomeKind.MORE_MEMORY,
            job(150),
        ),
        (
            AttemptResult(job(100), False, gpu_fault="x", out_of_memory=True, most_mib=1000),
            OutcomeKind.AFTER_FAULT,
            job(100),
        ),
        (
            AttemptResult(job(None), False, out_of_memory=True, most_mib=1000),
            OutcomeKind.FAILED,
            None,
        ),
    ],
)
def test_what_becomes_of_it(ended: AttemptResult, verdict: OutcomeKind, again: Job | None) -> None:
    assert decide(ended) == (verdict, again)


@pytest.mark.parametrize(
    ("asked", "peak", "expected"),
    [(1000, None, 1500), (1000, 900, 1500), (1000, 2000, 3000), (5000, None, 7500)],
)
def test_the_next_request(asked: int, peak: int | None, expected: int) -> None:
    assert with_more_memory(job(asked), peak, 8000) == job(expected)


def test_a_request_that_no_gpu_can_meet_has_the_gpu_alone() -> None:
    alone = with_more_memory(job(6000), None, 8000)
    assert alone == job(None, GPU_UNITS)
    assert with_more_memory(alone, None, 8000) is None
    assert with_more_memory(job(None), 500, 8000) is None


@given(
    st.integers(1, 100_000),
    st.none() | st.integers(0, 100_000),
    st.integers(0, 100_000),
    st.integers(1, 5),
)
def test_a_job_that_always_runs_out_of_memory_comes_to_an_end(
    asked_mib: int, peak_mib: int | None, most_mib: int, tries: int
) -> None:
    """Each attempt asks for more, then for whole GPUs, then counts as any other."""
    now: Job | None = job(asked_mib, tries=tries)
    attempts = 0
    while now is not None:
        before, attempts = now, attempts + 1
        facts = AttemptResult(now, False, out_of_memory=True, peak_mib=peak_mib, most_mib=most_mib)
        now = decide(facts).again
        if now is not None and now.memory_mib is not None:
            assert before.memory_mib is not None
            assert before.memory_mib < now.memory_mib < most_mib
    assert before.attempt == tries
    assert attempts < 60
