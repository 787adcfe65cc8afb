"""What is to be run, and what of a GPU it asks for: the records that a submitter needs, no more.

Whoever submits a job loads these alone; `model` has what is decided and reported about jobs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

#: The most jobs that may share one GPU (CUDA's own service for sharing stops at 60 clients).
MAX_JOBS_PER_GPU = 64

#: One GPU in whole units that every count of 1 to 64 equal slots divides: shares add up exactly.
GPU_UNITS = math.lcm(*range(1, MAX_JOBS_PER_GPU + 1))


def share_units(jobs_per_gpu: int) -> int:
    """What one of so many equal slots is, in units."""
    return GPU_UNITS // jobs_per_gpu


class Job(NamedTuple):
    """One command and what it asks for."""

    seq: int  #: number of its line in the input, from 1 (GNU parallel's sequence number)
    command: bytes  #: handed to the shell as it came
    gpus: int = 1  #: GPUs it needs at once
    units: int = GPU_UNITS  #: what it takes of each of its GPUs
    timeout_s: float | None = None
    tries: int = 1  #: runs at most so often while it fails; 0: without end
    attempt: int = 1
    memory_mib: int | None = None  #: of each of its GPUs; None: not said
    expected_s: float | None = None  #: how long it is thought to run; None: nobody knows
    auto_memory: bool = False  #: find out what memory it needs; alone on its GPUs until then


class Line(NamedTuple):
    """One record of the input; `reason` says why it can't be run, if it can't."""

    seq: int
    command: bytes
    reason: str | None = None
