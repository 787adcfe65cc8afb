from __future__ import annotations

import pytest

from simple_gpu_scheduler.jobs.job import Job, share_units
from simple_gpu_scheduler.memory.oom import says_out_of_memory

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
