"""What stands below the table: its order, how the jobs ended, why they failed. Also as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simple_gpu_scheduler.results.cells import format_value
from simple_gpu_scheduler.results.job import BUILT_IN, JobResult
from simple_gpu_scheduler.results.parsing import Value
from simple_gpu_scheduler.results.ranking import Sort, known_but_no_metric, metric_names
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop

MAX_SHARED = 40  # width of a value that all jobs share; longer ones are cut


def notes(
    jobs: Sequence[JobResult],
    shown: Sequence[JobResult],
    sort: Sort | None,
    shared: Mapping[str, Value],
    dropped: Sequence[str],
) -> list[str]:
    """Say by what the table is ordered, how the jobs ended, and what is left out of the table.

    Args:
        jobs: all jobs.
        shown: the jobs in the table.
        sort: the order of the table.
        shared: the values that all jobs share, which have no column.
        dropped: the columns for which the terminal has no room.
    """
    lines = [_unordered(jobs) if sort is None else _ordered(sort), _counts(jobs, shown)]
    if shared:
        lines.append(f"The same in all jobs: {_listed(shared)}.")
    if dropped:
        names = ", ".join(map(printable, dropped))
        lines.append(f"No room for: {names} (--columns chooses; a pipe gets all).")
    return lines


def _ordered(sort: Sort) -> str:
    guessed = "; a guess from its name, --sort METRIC changes it" if sort.guessed else ""
    way = "highest" if sort.descending else "lowest"
    return f"Best first by {printable(sort.metric)} ({way} first{guessed})."


def _unordered(jobs: Sequence[JobResult]) -> str:
    candidates = [printable(name) for name in metric_names(jobs) if name not in BUILT_IN]
    if candidates:
        return (
            f"In the order of the jobs, because {_why_no_metric(jobs)}; choose with "
            f"--sort: {', '.join(candidates)}."
        )
    return (
        "In the order of the jobs: none printed a metric (a last line that is a JSON object, or "
        "name=number)."
    )


def _why_no_metric(jobs: Sequence[JobResult]) -> str:
    """Say why no metric was guessed, although the jobs printed numbers."""
    repeated, of_others = known_but_no_metric(jobs)
    if repeated is not None:
        shown = printable(repeated)
        return f"{shown} stands in the commands with the same value, so it is a parameter"
    if of_others is not None:
        return f"no job that is ok has a number for {printable(of_others)}"
    return "no name is that of a known metric"


def _counts(jobs: Sequence[JobResult], shown: Sequence[JobResult]) -> str:
    states = [job.state for job in jobs]
    text = f"{len(jobs)} job{'s' * (len(jobs) != 1)}: {states.count('ok')} ok"
    if failed := states.count("failed"):
        text += f", {failed} failed"
    if early := states.count("ended early"):
        text += f", {early} ended early"
    if lost := states.count("lost"):
        text += f", {lost} lost (no result, and their scheduler is gone)"
    if running := states.count("running"):
        text += f", {running} running (no result yet)"
    if len(shown) < len(jobs):
        text += f"; the best {len(shown)} are shown" if shown else "; none is shown"
    return text + "."


def _listed(values: Mapping[str, Value]) -> str:
    texts = ((name, crop(format_value(v), MAX_SHARED)) for name, v in values.items())
    return ", ".join(f"{printable(name)}={text}" for name, text in texts)


def failures(jobs: Iterable[JobResult], last_lines: Mapping[int, str]) -> list[str]:
    """Return the command of each failed job, and the last line that it wrote to stderr.

    Args:
        last_lines: these lines, by the number of the job.
    """
    lines = []
    for job in jobs:
        command = printable(job.record.command) if job.record.command else "command unknown"
        lines.append(f"job {job.seq}, {job.status}: {command}")
        if last_line := last_lines.get(job.seq):
            lines.append(f"    {printable(last_line)}")
    return lines


def to_json(job: JobResult, rank: int | None) -> dict[str, Any]:
    """Return a job as an object for `--json`; NaN and infinite values become null."""
    record = job.record
    return {
        "rank": rank,
        "job": job.seq,
        "state": job.state,
        "status": job.status,
        "command": record.command,
        "parameters": {name: _finite(value) for name, value in job.parameters.items()},
        "metrics": {name: _finite(value) for name, value in job.metrics.items()},
        "exit_code": record.exit_code,
        "signal": record.signal,
        "timed_out": record.timed_out,
        "aborted": record.aborted,
        "attempt": record.attempt,
        "gpus": list(record.gpus),
        "started": _finite(record.started),
        "ended": _finite(record.ended),
        "runtime_s": _finite(record.runtime_s),
        "user_s": _finite(record.user_s),
        "system_s": _finite(record.system_s),
        "max_rss_mib": _finite(record.max_rss_mib),
    }


def _finite(value: Value) -> Value:
    if isinstance(value, list):
        return [None if isinstance(v, float) and not math.isfinite(v) else v for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
