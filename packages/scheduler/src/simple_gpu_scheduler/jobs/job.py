"""A job: a command, and what it asks for.

`sgs submit` loads only this module of the records. `policy.model` has what is decided about jobs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

#: The most jobs that may share one GPU (the sharing service of CUDA stops at 60 clients).
MAX_JOBS_PER_GPU = 64

#: The units of one GPU. Each number of 1 to 64 equal shares divides it, so shares add up exactly.
GPU_UNITS = math.lcm(*range(1, MAX_JOBS_PER_GPU + 1))


def share_units(jobs_per_gpu: int) -> int:
    """The units of one of so many equal shares of a GPU."""
    return GPU_UNITS // jobs_per_gpu


class Job(NamedTuple):
    """One command, and what it asks for."""

    seq: int  #: the number of its line, from 1 (GNU parallel's sequence number)
    command: bytes  #: passed to the shell as it is
    gpus: int = 1  #: the number of GPUs
    units: int = GPU_UNITS  #: its share of each GPU
    timeout_s: float | None = None  #: the longest time an attempt may run; None: no limit
    tries: int = 1  #: the most attempts while it fails; 0: no limit
    attempt: int = 1  #: the number of this attempt
    memory_mib: int | None = None  #: on each GPU; None: not given
    expected_s: float | None = None  #: its expected runtime; None: unknown
    auto_memory: bool = False  #: measure its memory; until that is known it has whole GPUs


class Line(NamedTuple):
    """One line of the input."""

    seq: int
    command: bytes
    reason: str | None = None  #: why it can't be run; None: it can
