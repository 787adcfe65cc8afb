"""Jobs as users name them: 12, 12-15."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.errors import UsageError

#: Of a number (SQLite's are below 2^63), and of jobs that are named at once.
_MOST_DIGITS, _MOST_JOBS = 18, 10_000_000


def job_ids(words: Sequence[str]) -> list[int]:
    """Numbers of jobs: `3`, `3 5`, `3,5`, `3-7`.

    Raises:
        UsageError: it isn't that.
    """
    found: list[int] = []
    for word in (part for one in words for part in one.split(",") if part):
        first, dash, last = word.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise UsageError(f"{word!r} is no job: expected its number, or several such as 3-7")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers:
            raise UsageError(f"{word!r} names no job: expected the lower number first, as in 3-7")
        if len(found) + len(numbers) > _MOST_JOBS:
            raise UsageError(f"{word!r} are too many jobs: expected {_MOST_JOBS} at most at once")
        found += numbers
    return found


def _is_number(word: str) -> bool:
    if not (word.isascii() and word.isdecimal()):
        return False
    if len(word) > _MOST_DIGITS:
        raise UsageError(f"there is no job {word[:40]} (see sgs status --all)")
    return True


def numbers(jobs: Sequence[int]) -> str:
    """Jobs in words that `job_ids` reads: `3-7, 9, 10`."""
    runs: list[list[int]] = []
    for job in sorted(jobs):
        if runs and job == runs[-1][-1] + 1:
            runs[-1].append(job)
        else:
            runs.append([job])
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )
