"""The order of the jobs: by which metric, which way, and who comes before whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.results import metrics
from simple_gpu_scheduler.results.job import BUILT_IN, JobResult
from simple_gpu_scheduler.results.parsing import is_number
from simple_gpu_scheduler.text.printable import printable

_GROUPS = ("ok", "failed", "ended early", "lost", "running")


@dataclass(frozen=True, slots=True)
class Sort:
    """By what the jobs are ranked; `guessed` if the user did not say."""

    metric: str
    descending: bool
    guessed: bool = False


def metric_names(jobs: Iterable[JobResult]) -> list[str]:
    """Return the names that jobs can be ranked by: those with a number in some job."""
    jobs = list(jobs)
    found: dict[str, None] = {}
    for values in (*(job.metrics for job in jobs), *(job.parameters for job in jobs)):
        found.update((name, None) for name, value in values.items() if is_number(value))
    for name in BUILT_IN:
        if any(is_number(job.value(name)) for job in jobs):
            found.setdefault(name)
    return list(found)


def choose_sort(
    jobs: Sequence[JobResult], metric: str | None, descending: bool | None
) -> Sort | None:
    """Return the order asked for, or guess one; None if no job printed a known metric."""
    if metric is None:
        guess = guess_metric(jobs)
        if guess is None or descending is None:
            return guess
        return Sort(guess.metric, descending, guessed=True)
    known = metric_names(jobs)
    if metric not in known:
        raise UsageError(unknown_name("metric", metric, known))
    if descending is None:
        descending = _higher_is_better(metric, jobs)
    return Sort(metric, descending)


def guess_metric(jobs: Iterable[JobResult]) -> Sort | None:
    """Choose by name: validation before test, and accuracy and its like before the losses."""
    measured = {name for job in jobs if job.state == "ok" for name in _measured(job)}
    known = {name: kind for name in measured if (kind := metrics.kind(name)) is not None}
    if not known:
        return None
    best = min(known, key=lambda name: (metrics.split(name), known[name].place, len(name), name))
    return Sort(best, descending=known[best].higher_is_better, guessed=True)


def known_but_no_metric(jobs: Iterable[JobResult]) -> tuple[str | None, str | None]:
    """A known metric that jobs repeat from their command, and one that no job that is ok has."""
    repeated = elsewhere = None
    for job in jobs:
        for name, value in job.metrics.items():
            if metrics.kind(name) is None or not is_number(value):
                continue
            if job.state == "ok":
                repeated = name
            else:
                elsewhere = name
    return repeated, elsewhere


def _measured(job: JobResult) -> list[str]:
    """Return the names of the numbers that a job printed, without repeated parameters."""
    return [
        name
        for name, value in job.metrics.items()
        if is_number(value) and job.parameters.get(name) != value
    ]


def _higher_is_better(name: str, jobs: Iterable[JobResult]) -> bool:
    kind = metrics.kind(name)
    if kind is not None:
        return kind.higher_is_better
    if metrics.is_a_cost(name):
        return False
    return not any(name in job.parameters for job in jobs)


def order(jobs: Iterable[JobResult], sort: Sort | None) -> list[JobResult]:
    """Sort the jobs: the successful, best first, then the failed, the lost and the others.

    A job without the metric, or with NaN, an infinity or null for it, comes after those that
    have a number; equals are in the order of their job numbers.
    """

    def key(job: JobResult) -> tuple[int, bool, int | float, int]:
        group = _GROUPS.index(job.state)
        value = job.value(sort.metric) if sort and group == 0 else None
        if not is_number(value):
            return group, True, 0, job.seq
        return group, False, -value if sort and sort.descending else value, job.seq

    return sorted(jobs, key=key)


def is_ranked(job: JobResult, sort: Sort | None) -> bool:
    """True if the job has a place in the order, and so a rank."""
    return sort is not None and job.state == "ok" and is_number(job.value(sort.metric))


def unknown_name(what: str, name: str, known: Sequence[str]) -> str:
    """Say that a name is not known, which are, and which was probably meant."""
    import difflib  # only when it went wrong

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {printable(close[0])}? Known" if close else "known"
    listed = ", ".join(printable(k) for k in known) or "none"
    return f"unknown {what} {printable(name)}; {hint}: {listed}"
