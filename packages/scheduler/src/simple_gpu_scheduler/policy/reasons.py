"""Why a job doesn't start, in words for a person."""

from __future__ import annotations

from simple_gpu_scheduler.model import GPU_UNITS, Job


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def too_few_free(job: Job, free: int) -> str:
    """The job waits for GPUs."""
    share = "" if job.units == GPU_UNITS else f" (1/{GPU_UNITS // job.units} of each)"
    return f"needs {_gpus(job.gpus)}{share}; {free} {'is' if free == 1 else 'are'} free"


def start_delay(delay_s: float) -> str:
    """The job waits for --delay."""
    return f"starts are {delay_s:g} s apart (--delay)"


def impossible(job: Job, gpus: int) -> str | None:
    """Why the job could never run on so many GPUs, or None if it could."""
    if job.gpus > gpus:
        return f"asks for {_gpus(job.gpus)}, but there {'is' if gpus == 1 else 'are'} only {gpus}"
    return None
