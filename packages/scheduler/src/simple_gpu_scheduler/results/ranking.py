"""The order of the jobs: by which metric, in which direction, and which states come first."""

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
    """The metric by which the jobs are ranked; `guessed`: from its name, not from --sort."""

    metric: str
    descending: bool
    guessed: bool = False


def metric_names(jobs: Iterable[JobResult]) -> list[str]:
    """Return the names by which jobs can be ranked: those with a number in at least one job."""
    jobs = list(jobs)
    names: dict[str, None] = {}
    for values in (*(job.metrics for job in jobs), *(job.parameters for job in jobs)):
        names.update((name, None) for name, value in values.items() if is_number(value))
    for name in BUILT_IN:
        if any(is_number(job.value(name)) for job in jobs):
            names.setdefault(name)
    return list(names)


def choose_sort(
    jobs: Sequence[JobResult], metric: str | None, descending: bool | None
) -> Sort | None:
    """Return the order that the user asked for, or guess one.

    Args:
        jobs: all jobs.
        metric: the name after --sort; None: the metric is guessed.
        descending: whether the highest value is the best; None: it is guessed.

    Returns:
        The order; None if no metric is named and no job printed a known one.

    Raises:
        UsageError: no job has a number of this name.
    """
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
    """Choose a metric by its name: validation before test, accuracy and the like before losses."""
    measured = {name for job in jobs if job.state == "ok" for name in _measured(job)}
    known = {name: kind for name in measured if (kind := metrics.kind(name)) is not None}
    if not known:
        return None
    best = min(known, key=lambda name: (metrics.split(name), known[name].place, len(name), name))
    return Sort(best, descending=known[best].higher_is_better, guessed=True)


def known_but_no_metric(jobs: Iterable[JobResult]) -> tuple[str | None, str | None]:
    """Return two metrics that could not be guessed, or None for each.

    One is repeated from the command, so it is a parameter. The other is printed only by jobs that
    did not succeed.
    """
    repeated = of_others = None
    for job in jobs:
        for name, value in job.metrics.items():
            if metrics.kind(name) is None or not is_number(value):
                continue
            if job.state == "ok":
                repeated = name
            else:
                of_others = name
    return repeated, of_others


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
    """Sort the jobs: those that succeeded, best first, then those that failed, and the others.

    Jobs without a number for the metric (none, NaN, infinite, null) come after the jobs that have
    one. Equal jobs are in the order of their numbers.
    """

    def key(job: JobResult) -> tuple[int, bool, int | float, int]:
        group = _GROUPS.index(job.state)
        value = job.value(sort.metric) if sort and group == 0 else None
        if not is_number(value):
            return group, True, 0, job.seq
        return group, False, -value if sort and sort.descending else value, job.seq

    return sorted(jobs, key=key)


def is_ranked(job: JobResult, sort: Sort | None) -> bool:
    """Return whether the job has a rank: it succeeded, and has a number for the metric."""
    return sort is not None and job.state == "ok" and is_number(job.value(sort.metric))


def unknown_name(what: str, name: str, known: Sequence[str]) -> str:
    """Return the message that a name is unknown, with the known names and the likely one."""
    import difflib  # slow to import, and only for errors

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {printable(close[0])}? Known" if close else "known"
    listed = ", ".join(printable(k) for k in known) or "none"
    return f"unknown {what} {printable(name)}; {hint}: {listed}"
