"""Why a job doesn't start, in words for a person."""

from __future__ import annotations

from simple_gpu_scheduler.model import GPU_UNITS, Hold, Job, Phase


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def explain(hold: Hold) -> str:
    """Why a job waits."""
    if hold.until_s is not None:
        return "starts are to be apart (--delay)"
    job, free = hold.job, hold.free
    share = "" if job.units == GPU_UNITS else f" (1/{GPU_UNITS // job.units} of each)"
    return f"needs {_gpus(job.gpus)}{share}; {free} {'is' if free == 1 else 'are'} free"


def impossible(job: Job, gpus: int) -> str | None:
    """Why the job could never run on so many GPUs, or None if it could."""
    if job.gpus > gpus:
        return f"asks for {_gpus(job.gpus)}, but there {'is' if gpus == 1 else 'are'} only {gpus}"
    return None


def ending(phase: Phase, running: int) -> str:
    """What a signal of the user has brought about."""
    jobs = "1 job" if running == 1 else f"{running} jobs"
    if phase is Phase.DRAINING:
        return f"reading no more, waiting for {jobs}; a second one ends them"
    if phase is Phase.ENDING:
        return f"ending {jobs}; one more kills them"
    return f"killing {jobs}"
