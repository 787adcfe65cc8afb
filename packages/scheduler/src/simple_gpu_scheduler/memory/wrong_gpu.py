"""Which jobs are not where they were put: CUDA goes by a variable that a job may set itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from simple_gpu_scheduler.policy.model import JobProcess


def elsewhere(gpus: Collection[str], processes: Iterable[JobProcess]) -> list[JobProcess]:
    """Those of a job's processes that use another GPU than these; a slice is part of its card."""
    return [one for one in processes if one.gpu not in gpus and one.card not in gpus]
