"""Whether a job that failed runs again."""

from __future__ import annotations

from simple_gpu_scheduler.jobs.job import Job


def next_attempt(job: Job) -> Job | None:
    """The failed job as it runs again, or None if this was its last attempt."""
    if job.tries != 0 and job.attempt >= job.tries:
        return None
    return job._replace(attempt=job.attempt + 1)
