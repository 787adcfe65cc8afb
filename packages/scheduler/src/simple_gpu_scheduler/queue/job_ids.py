"""Numbers of jobs as users write them: 12, 12-15."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.errors import UsageError

#: The digits of a number (SQLite's are below 2^63), and the jobs that one command may name.
_MOST_DIGITS, _MOST_JOBS = 18, 10_000_000


def job_ids(arguments: Sequence[str]) -> list[int]:
    """Read numbers of jobs: `3`, `3 5`, `3,5`, `3-7`.

    Raises:
        UsageError: an argument is neither a number nor a range.
    """
    jobs: list[int] = []
    for text in (part for argument in arguments for part in argument.split(",") if part):
        first, dash, last = text.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise UsageError(f"{text!r} is no job: expected its number, or several such as 3-7")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers:
            raise UsageError(f"{text!r} names no job: expected the lower number first, as in 3-7")
        if len(jobs) + len(numbers) > _MOST_JOBS:
            raise UsageError(f"{text!r} names too many jobs: expected {_MOST_JOBS} at most")
        jobs += numbers
    return jobs


def _is_number(text: str) -> bool:
    if not (text.isascii() and text.isdecimal()):
        return False
    if len(text) > _MOST_DIGITS:
        raise UsageError(f"there is no job {text[:40]} (see sgs status --all)")
    return True


def numbers(jobs: Sequence[int]) -> str:
    """Write numbers of jobs so that `job_ids` can read them: `3-7, 9, 10`."""
    runs: list[list[int]] = []
    for job in sorted(jobs):
        if runs and job == runs[-1][-1] + 1:
            runs[-1].append(job)
        else:
            runs.append([job])
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )
