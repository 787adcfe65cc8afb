"""Sums over attempts: outcomes, GPU time, CPU time, memory, waiting times. Pure arithmetic."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.similarity import strip_numbers
from simple_gpu_scheduler.memory.estimates import MARGIN, MARGIN_MIB
from simple_gpu_scheduler.queue.attempt_history import AttemptRecord
from simple_gpu_scheduler.queue.records import CANCELLED, FAILED, LOST, RUNNING, SUCCEEDED
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.sim.quantiles import percentile


class Spread(NamedTuple):
    """The distribution of some times, in seconds."""

    mean_s: float
    p50_s: float
    p95_s: float


class Usage(NamedTuple):
    """What some jobs used within a period."""

    jobs: int
    attempts: int
    running: int  #: the number of jobs whose last attempt runs; the next four likewise
    succeeded: int
    failed: int
    cancelled: int
    lost: int
    retries: int  #: attempts after a job's first
    success_rate: float | None  #: among the jobs that succeeded, failed or were lost
    gpu_hours: float  #: within the period; a shared GPU counts for each of its jobs
    cpu_hours: float | None  #: of attempts that have ended, as far as it is known
    waited: Spread | None  #: from submission, or the chosen start time, to the first start
    ran: Spread | None  #: of attempts that have ended
    vram_asked_mib: int | None  #: the most that a job asked for, on each GPU
    vram_peak_mib: int | None  #: the most that an attempt used, on one GPU
    vram_enough_mib: int | None  #: what would have been enough for all, with a margin
    max_rss_mib: int | None  #: of the largest process


class Period(NamedTuple):
    """A span of time on the wall clock."""

    since_s: float
    until_s: float

    def part_of_s(self, run: AttemptRecord) -> float:
        """Seconds that the attempt ran within the period."""
        end_s = self.until_s if run.ended_s is None else min(run.ended_s, self.until_s)
        return max(0.0, end_s - max(run.started_s, self.since_s))


def usage(runs: Sequence[AttemptRecord], period: Period) -> Usage:
    """Sum up attempts."""
    last = {run.job: run for run in sorted(runs, key=lambda run: run.number)}
    ends = Counter(run.outcome for run in last.values())
    tried = ends[SUCCEEDED] + ends[FAILED] + ends[LOST]
    cpu_s = [run.user_s + (run.system_s or 0.0) for run in runs if run.user_s is not None]
    peak_mib = _most(run.peak_vram_mib for run in runs)
    return Usage(
        len(last),
        len(runs),
        ends[RUNNING],
        ends[SUCCEEDED],
        ends[FAILED],
        ends[CANCELLED],
        ends[LOST],
        sum(run.number > 1 for run in runs),
        ends[SUCCEEDED] / tried if tried else None,
        math.fsum(len(run.gpu_names) * period.part_of_s(run) for run in runs) / 3600,
        math.fsum(cpu_s) / 3600 if cpu_s else None,
        spread(waits_s(runs, period)),
        spread([run.runtime_s(period.until_s) for run in runs if run.ended_s is not None]),
        _most(run.memory_mib for run in runs),
        peak_mib,
        None if not peak_mib else math.ceil(peak_mib * MARGIN) + MARGIN_MIB,
        _most(run.max_rss_mib for run in runs),
    )


def waits_s(runs: Iterable[AttemptRecord], period: Period) -> list[float]:
    """Return the waiting times of the jobs that were first started within the period."""
    return [
        max(0.0, run.started_s - _ready_s(run))
        for run in runs
        if run.number == 1 and run.started_s >= period.since_s
    ]


def spread(values_s: Sequence[float]) -> Spread | None:
    """Return the distribution of the values; None if there are none."""
    if not values_s:
        return None
    ordered = sorted(values_s)
    mean_s = math.fsum(ordered) / len(ordered)
    return Spread(mean_s, percentile(ordered, 50), percentile(ordered, 95))


def _ready_s(run: AttemptRecord) -> float:
    return max(run.submitted_s, run.not_before_s or run.submitted_s)


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


# grouping


def parts(
    runs: Iterable[AttemptRecord], by: str, day: Callable[[float], str], user: str
) -> dict[str, list[AttemptRecord]]:
    """Group attempts by one of `BY`. A command counts without its numbers, a day by the start.

    Args:
        day: gives the day of a time on the wall clock.
        user: the owner of the queue.
    """
    keys: dict[str, Callable[[AttemptRecord], str]] = {
        "user": lambda _: user,
        "group": lambda run: run.group,
        "name": lambda run: run.name,
        "command": lambda run: strip_numbers(own_command(run.command)).decode(errors="replace"),
        "day": lambda run: day(run.started_s),
        "gpu": lambda run: ",".join(run.gpu_names),
    }
    if by == "gpu":
        runs = [run._replace(gpu_names=(gpu,)) for run in runs for gpu in run.gpu_names]
    groups: dict[str, list[AttemptRecord]] = {}
    for run in runs:
        groups.setdefault(keys[by](run), []).append(run)
    return groups


BY = ("user", "group", "name", "command", "day", "gpu")


# over time


class Step(NamedTuple):
    """The number of something, from a time on."""

    at_s: float
    number: int


def gpus_in_use(runs: Iterable[AttemptRecord], period: Period) -> list[Step]:
    """Count the GPUs that were in use by at least one job, over time."""
    spans_of: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        end_s = period.until_s if run.ended_s is None else run.ended_s
        for gpu in run.gpu_names:
            spans_of.setdefault(gpu, []).append((run.started_s, end_s))
    merged = [span for spans in spans_of.values() for span in _united(spans)]
    return steps(merged, period)


def jobs_waiting(runs: Iterable[AttemptRecord], period: Period) -> list[Step]:
    """Count the jobs that were waiting, over time; only those that have started since."""
    spans = [(_ready_s(run), run.started_s) for run in runs if run.number == 1]
    return steps(spans, period)


def steps(spans: Iterable[tuple[float, float]], period: Period) -> list[Step]:
    """Count the spans that overlap at each time of the period. The last step is at its end."""
    changes: Counter[float] = Counter({period.since_s: 0, period.until_s: 0})
    for start_s, end_s in spans:
        start_s, end_s = max(start_s, period.since_s), min(end_s, period.until_s)
        if start_s < end_s:
            changes[start_s] += 1
            changes[end_s] -= 1
    times_s = sorted(changes)
    numbers = itertools.accumulate(changes[at_s] for at_s in times_s)
    return [Step(at_s, number) for at_s, number in zip(times_s, numbers, strict=True)]


def _united(spans: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Merge spans that overlap or touch."""
    merged: tuple[float, float] | None = None
    for start_s, end_s in sorted(spans):
        if merged is not None and start_s <= merged[1]:
            merged = (merged[0], max(merged[1], end_s))
        else:
            if merged is not None:
                yield merged
            merged = (start_s, end_s)
    if merged is not None:
        yield merged
