"""How much GPU memory jobs need, learned from jobs that ran before: `--vram auto`. Pure.

The jobs of a sweep differ only in numbers, so they share a template (`jobs.similarity`). Until the
need of a template is known, its jobs run alone on their GPUs. Then they ask for the most memory
that one of them used, with a margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from simple_gpu_scheduler.jobs.job import GPU_UNITS, MAX_JOBS_PER_GPU, Job, share_units
from simple_gpu_scheduler.jobs.similarity import strip_numbers

MARGIN = 1.1
MARGIN_MIB = 256


class MemoryEstimates:
    """The most memory that jobs of each template used on one GPU, in MiB."""

    def __init__(self, peaks_mib: Mapping[bytes, int]) -> None:
        """Begin with the peaks of earlier runs, by template."""
        self.peaks_mib = dict(peaks_mib)

    def with_estimate(self, job: Job, most_mib: int) -> Job:
        """The job with the memory that it will need, if that is wanted and known.

        Args:
            most_mib: the memory of its GPUs. A job that needs more with the margin runs alone.
        """
        if not job.auto_memory or job.memory_mib is not None:
            return job
        peak_mib = self.peaks_mib.get(strip_numbers(job.command))
        if peak_mib is None:
            return job
        estimate_mib = math.ceil(peak_mib * MARGIN) + MARGIN_MIB
        if estimate_mib > most_mib:
            return job._replace(units=GPU_UNITS)
        units = share_units(MAX_JOBS_PER_GPU) if job.units == GPU_UNITS else job.units
        return job._replace(memory_mib=estimate_mib, units=units)

    def learn(self, job: Job, peak_mib: int | None) -> bool:
        """Learn from a job that has ended; returns True if its template's peak is higher now."""
        if peak_mib is None or not job.auto_memory:
            return False
        key = strip_numbers(job.command)
        if peak_mib <= self.peaks_mib.get(key, -1):
            return False
        self.peaks_mib[key] = peak_mib
        return True
