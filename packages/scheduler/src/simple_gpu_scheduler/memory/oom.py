"""A job that ran out of GPU memory runs again with more; that is no fault of the command."""

from __future__ import annotations

import math
import re

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy.reasons import gib

#: What PyTorch, CUDA itself, cuDNN and cuBLAS, JAX and TensorFlow say.
_SAYS_SO = re.compile(
    rb"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    rb"|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED"
    rb"|OutOfMemoryError: (?:CUDA|HIP)|HIP out of memory"
    rb"|RESOURCE_EXHAUSTED: (?:Out of memory|Failed to allocate)|OOM when allocating tensor"
    rb"|cudaErrorMemoryAllocation"
)
_FACTOR = 1.5


def says_out_of_memory(text: bytes) -> bool:
    """True if a job's last words are those of a GPU without memory."""
    return _SAYS_SO.search(text) is not None


def with_more_memory(job: Job, peak_mib: int | None, most_mib: int) -> Job | None:
    """The job with half as much memory again, or alone on its GPUs; None if it was alone.

    Args:
        peak_mib: what it was seen to have, if that was measured.
        most_mib: what its GPUs have for jobs.
    """
    if job.memory_mib is None:
        return None
    wanted_mib = math.ceil(max(job.memory_mib, peak_mib or 0) * _FACTOR)
    if wanted_mib < most_mib:
        return job._replace(memory_mib=wanted_mib)
    return job._replace(memory_mib=None, units=GPU_UNITS)


def more_memory(job: Job, again: Job) -> str:
    """Why a job runs again, and with what."""
    had = f"job {job.seq} ran out of GPU memory with {gib(job.memory_mib or 0)}"
    if again.units == GPU_UNITS:
        return f"{had}; trying again alone on its GPU"
    return f"{had}; trying again with {gib(again.memory_mib or 0)}"
