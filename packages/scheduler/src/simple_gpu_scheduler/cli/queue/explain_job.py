"""`sgs explain ID`: why a job of the queue waits, when it will end, or how it ended."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from simple_gpu_scheduler.cli.gpus.verdicts import verdict_lines
from simple_gpu_scheduler.cli.queue.jobs import describe_state, find_jobs, how_it_ended
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.attempt_history import AttemptRecord
from simple_gpu_scheduler.queue.explain import Waits, in_words, rests_on, why_it_waits
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    LOST,
    RUNNING,
    SUCCEEDED,
    QueuedJob,
)
from simple_gpu_scheduler.queue.store import history
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.sim.forecast import LIKELY, QUICK, SLOW, TimeRange
from simple_gpu_scheduler.sim.runtimes import RuntimeHistory
from simple_gpu_scheduler.system.fds import print_lines
from simple_gpu_scheduler.units.durations import format_duration, format_since
from simple_gpu_scheduler.units.sizes import format_memory

_VERBS = {SUCCEEDED: "has", FAILED: "has", CANCELLED: "was", LOST: "was"}


class _Ends(NamedTuple):
    """When a job that runs will probably end."""

    span: TimeRange | None = None  #: in seconds from now
    runs: int = 0  #: number of earlier runs on which the forecast rests
    forecast: str = ""  #: the span in words


def explain_job(word: str, *, as_json: bool) -> int:
    """Print the state of a job, and why it has it; returns the exit status.

    Raises:
        UsageError: there is no such job.
    """
    home, now_s = QueueHome(), time.time()
    jobs = find_jobs(home, [word], None)
    if len(jobs) > 1:
        raise UsageError(f"{word!r} names {len(jobs)} jobs; expected the number of one")
    (job,) = jobs
    runs = history.runs_of(home.store.file, job.id)
    waits, ends = Waits([]), _Ends()
    if job.state == RUNNING:
        ends = _forecast_end(home, job, now_s)
    elif job.state not in ENDED_STATES:
        waits = why_it_waits(home, job, now_s)
    if as_json:
        print_lines(json.dumps(_object(job, runs, waits, ends)))
    else:
        print_lines(*_text(job, runs, waits, ends, now_s))
    return 0


def _forecast_end(home: QueueHome, job: QueuedJob, now_s: float) -> _Ends:
    elapsed_s = max(0.0, now_s - (job.started_s or now_s))
    runtimes = RuntimeHistory(history.last_successes(home.store.file)).find(job.command)
    if runtimes is None or not runtimes.alike:
        return _Ends(forecast="nobody knows when it will end: no job like it has succeeded yet")
    likely, quick, slow = (
        runtimes.predict_s(percent, elapsed_s) - elapsed_s for percent in (LIKELY, QUICK, SLOW)
    )
    runs = len(runtimes.ordered_s)
    if runtimes.ordered_s[-1] <= elapsed_s:
        longest = format_duration(runtimes.ordered_s[-1])
        many = "the 1 job" if runs == 1 else f"all {runs:,} jobs"
        return _Ends(None, runs, f"it runs longer than {many} like it ({longest} at most)")
    span = TimeRange(likely, quick, slow)
    return _Ends(
        span, runs, f"it will probably end {in_words(span)}, {rests_on(runs, [runtimes])}"
    )


def _text(
    job: QueuedJob, runs: list[AttemptRecord], waits: Waits, ends: _Ends, now_s: float
) -> list[str]:
    lines = [f"job {job.id} {_VERBS.get(job.state, 'is')} {describe_state(job)}"]
    lines.append(f"  {own_command(job.command).decode(errors='replace')}")
    lines += [f"- {reason}" for reason in waits.reasons]
    lines += [f"- {forecast}" for forecast in (waits.forecast, ends.forecast) if forecast]
    if waits.verdicts:
        lines += ["", *verdict_lines(waits.verdicts)]
    if not runs:
        return lines
    return [*lines, "", *(line for run in runs for line in _attempt(run, now_s))]


def _attempt(run: AttemptRecord, now_s: float) -> list[str]:
    ran = f"{'runs' if run.ended_s is None else 'ran'} {format_duration(run.runtime_s(now_s))}"
    gpus = f"on GPU{'' if len(run.gpu_names) == 1 else 's'} {','.join(run.gpu_names)}"
    how = [run.outcome]
    if run.exit_code:
        how.append(f"exit {run.exit_code}")
    if run.signal is not None:
        how.append(f"signal {run.signal}")
    how += [run.reason] if run.reason and run.reason != run.outcome else []
    first = f"attempt {run.number}: {ran} {gpus} since {format_since(run.started_s, now_s)}"
    if run.ended_s is not None:
        first += f"; {', '.join(how)}"
    used = _used(run)
    return [first, *([f"  {used}"] if used else [])]


def _used(run: AttemptRecord) -> str:
    """Return what a run used and what it asked for, as far as that is known."""
    parts = []
    if run.peak_vram_mib is not None:
        parts.append(f"{format_memory(run.peak_vram_mib)} of GPU memory at most")
    if run.memory_mib is not None:
        parts.append(f"{format_memory(run.memory_mib)} asked for")
    if run.user_s is not None and run.system_s is not None:
        parts.append(f"{format_duration(run.user_s + run.system_s)} of CPU time")
    if run.max_rss_mib is not None:
        parts.append(f"{format_memory(run.max_rss_mib)} of RAM in its largest process")
    return ", ".join(parts)


def _object(
    job: QueuedJob, runs: list[AttemptRecord], waits: Waits, ends: _Ends
) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "command": own_command(job.command).decode(errors="replace"),
        "how": how_it_ended(job) or None,
        "reasons": waits.reasons,
        "ahead": waits.ahead,
        "cards": [verdict._asdict() for verdict in waits.verdicts],
        "starts_in": waits.starts._asdict() if waits.starts else None,
        "ends_in": ends.span._asdict() if ends.span else None,
        "forecast": waits.forecast or ends.forecast or None,
        "forecast_runs": waits.runs or ends.runs,
        "attempts": [_run_object(run) for run in runs],
    }


def _run_object(run: AttemptRecord) -> dict[str, Any]:
    return {
        "number": run.number,
        "state": run.outcome,
        "exit_code": run.exit_code,
        "signal": run.signal,
        "reason": run.reason or None,
        "gpus": list(run.gpu_names),
        "started": run.started_s,
        "ended": run.ended_s,
        "vram_mib": run.memory_mib,
        "peak_vram_mib": run.peak_vram_mib,
        "user_s": run.user_s,
        "system_s": run.system_s,
        "max_rss_mib": run.max_rss_mib,
    }
