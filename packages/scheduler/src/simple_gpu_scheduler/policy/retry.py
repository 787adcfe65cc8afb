"""Whether a job that ended runs again."""

from __future__ import annotations

from simple_gpu_scheduler.model import Job


def next_attempt(job: Job, *, ok: bool, aborted: bool) -> Job | None:
    """The job as it runs again, or None if this was its last attempt."""
    if ok or aborted or (job.tries != 0 and job.attempt >= job.tries):
        return None
    return job._replace(attempt=job.attempt + 1)
