"""Recognise from a job's output that it ran out of GPU memory. Pure."""

from __future__ import annotations

import re

#: The messages of PyTorch, CUDA itself, cuDNN and cuBLAS, HIP, JAX and TensorFlow.
_MESSAGE = re.compile(
    rb"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    rb"|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED"
    rb"|OutOfMemoryError: (?:CUDA|HIP)|HIP out of memory"
    rb"|RESOURCE_EXHAUSTED: (?:Out of memory|Failed to allocate)|OOM when allocating tensor"
    rb"|cudaErrorMemoryAllocation"
)


def says_out_of_memory(text: bytes) -> bool:
    """True if the end of a job's output says that GPU memory was lacking."""
    return _MESSAGE.search(text) is not None
