"""Whether a job has run out of GPU memory, by its last words."""

from __future__ import annotations

import re

#: What PyTorch, CUDA itself, cuDNN and cuBLAS, JAX and TensorFlow say.
_SAYS_SO = re.compile(
    rb"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    rb"|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED"
    rb"|OutOfMemoryError: (?:CUDA|HIP)|HIP out of memory"
    rb"|RESOURCE_EXHAUSTED: (?:Out of memory|Failed to allocate)|OOM when allocating tensor"
    rb"|cudaErrorMemoryAllocation"
)


def says_out_of_memory(text: bytes) -> bool:
    """True if a job's last words are those of a GPU without memory."""
    return _SAYS_SO.search(text) is not None
