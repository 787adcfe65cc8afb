from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job, share_units
from simple_gpu_scheduler.memory.oom import says_out_of_memory
from simple_gpu_scheduler.policy.outcome import with_more_memory

SHARE = share_units(64)


def job(memory_mib: int | None, units: int = SHARE) -> Job:
    return Job(1, b"train", 1, units, memory_mib=memory_mib)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB", True),
        (b"RuntimeError: CUDA error: out of memory", True),
        (b"cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY", True),
        (b"jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while", True),
        (b"ResourceExhaustedError: OOM when allocating tensor with shape[1]", True),
        (b"MemoryError", False),
        (b"", False),
        (b"\xff\x00 CUBLAS_STATUS_ALLOC_FAILED \xff", True),
    ],
)
def test_who_says_so(text: bytes, expected: bool) -> None:
    assert says_out_of_memory(text) == expected


@pytest.mark.parametrize(
    ("asked", "peak", "expected"),
    [(1000, None, 1500), (1000, 900, 1500), (1000, 2000, 3000), (5000, None, 7500)],
)
def test_the_next_request(asked: int, peak: int | None, expected: int) -> None:
    again = with_more_memory(job(asked), peak, 8000)
    assert again == job(expected)


def test_then_alone_then_never() -> None:
    alone = with_more_memory(job(6000), None, 8000)
    assert alone == job(None, GPU_UNITS)
    assert with_more_memory(alone, None, 8000) is None
    assert with_more_memory(job(None), 500, 8000) is None


@given(st.integers(1, 100_000), st.none() | st.integers(0, 100_000), st.integers(1, 100_000))
def test_it_comes_to_an_end(asked: int, peak: int | None, most: int) -> None:
    one: Job | None = job(asked)
    for _ in range(100):
        assert one is not None
        before, one = one, with_more_memory(one, peak, most)
        if one is None:
            return
        assert one.units > before.units or (one.memory_mib or 0) > (before.memory_mib or 0)
    raise AssertionError("it never ends")
