"""What jobs need of GPU memory, learned from those that ran: `--vram auto`.

Jobs of a sweep differ in numbers only; they share a template. As long as nobody knows what jobs
of a template need, they run alone on their GPUs; then they ask for the most that was measured,
with a margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from simple_gpu_scheduler.jobs.job import GPU_UNITS, MAX_JOBS_PER_GPU, Job, share_units
from simple_gpu_scheduler.jobs.similarity import strip_numbers

MARGIN = 1.1
MARGIN_MIB = 256


class MemoryEstimates:
    """The most memory that jobs of each template were seen to have, in MiB."""

    def __init__(self, peaks_mib: Mapping[bytes, int]) -> None:
        """`peaks_mib`, by template, are from earlier runs."""
        self.peaks_mib = dict(peaks_mib)

    def asked(self, job: Job, most_mib: int) -> Job:
        """The job with what it will need, if it wants that to be found out and it is known.

        Args:
            most_mib: what its GPUs have. What needs more, with the margin, is alone on its GPUs.
        """
        if not job.auto_memory or job.memory_mib is not None:
            return job
        peak_mib = self.peaks_mib.get(strip_numbers(job.command))
        if peak_mib is None:
            return job
        wanted_mib = math.ceil(peak_mib * MARGIN) + MARGIN_MIB
        if wanted_mib > most_mib:
            return job._replace(units=GPU_UNITS)
        units = share_units(MAX_JOBS_PER_GPU) if job.units == GPU_UNITS else job.units
        return job._replace(memory_mib=wanted_mib, units=units)

    def learn(self, job: Job, peak_mib: int | None) -> bool:
        """Take note of a job that has ended; True if that is news."""
        if peak_mib is None or not job.auto_memory:
            return False
        key = strip_numbers(job.command)
        if peak_mib <= self.peaks_mib.get(key, -1):
            return False
        self.peaks_mib[key] = peak_mib
        return True
