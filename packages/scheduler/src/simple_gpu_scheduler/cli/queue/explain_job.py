"""`sgs explain ID`: why a job of the queue waits, how it gets on, or how it ended."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from simple_gpu_scheduler.cli.queue.jobs import entries_of, how_it_ended
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.attempts import Run
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
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.units.durations import short_duration, since
from simple_gpu_scheduler.units.sizes import show_memory

_VERBS = {SUCCEEDED: "has", FAILED: "has", CANCELLED: "was", LOST: "was"}


class _Ends(NamedTuple):
    """When a job that runs will probably end."""

    span: TimeRange | None = None  #: in seconds from now
    runs: int = 0  #: that it rests on
    forecast: str = ""  #: the same in words


def explain_job(word: str, *, as_json: bool) -> int:
    """Print what is known of a job; returns the exit status.

    Raises:
        UsageError: there is no such job.
    """
    home, now_s = QueueHome(), time.time()
    entries = entries_of(home, [word], None)
    if len(entries) > 1:
        raise UsageError(f"{word!r} are {len(entries)} jobs; expected the number of one")
    (entry,) = entries
    runs = history.runs_of(home.store.file, entry.id)
    waits, ends = Waits([]), _Ends()
    if entry.state == RUNNING:
        ends = _when_it_ends(home, entry, now_s)
    elif entry.state not in ENDED_STATES:
        waits = why_it_waits(home, entry, now_s)
    if as_json:
        print_lines(json.dumps(_object(entry, runs, waits, ends)))
    else:
        print_lines(*_text(entry, runs, waits, ends, now_s))
    return 0


def _when_it_ends(home: QueueHome, entry: QueuedJob, now_s: float) -> _Ends:
    elapsed_s = max(0.0, now_s - (entry.started_s or now_s))
    runtimes = RuntimeHistory(history.last_successes(home.store.file)).find(entry.command)
    if runtimes is None or not runtimes.alike:
        return _Ends(forecast="nobody knows when it will end: no job like it has succeeded yet")
    likely, quick, slow = (
        runtimes.predict_s(percent, elapsed_s) - elapsed_s for percent in (LIKELY, QUICK, SLOW)
    )
    runs = len(runtimes.ordered_s)
    if runtimes.ordered_s[-1] <= elapsed_s:
        longest = short_duration(runtimes.ordered_s[-1])
        many = "the 1 job" if runs == 1 else f"all {runs:,} jobs"
        return _Ends(None, runs, f"it runs longer than {many} like it ({longest} at most)")
    span = TimeRange(likely, quick, slow)
    return _Ends(
        span, runs, f"it will probably end {in_words(span)}, {rests_on(runs, [runtimes])}"
    )


def _text(entry: QueuedJob, runs: list[Run], waits: Waits, ends: _Ends, now_s: float) -> list[str]:
    how = how_it_ended(entry)
    said = f": {how}" if how and how != entry.state else ""
    lines = [f"job {entry.id} {_VERBS.get(entry.state, 'is')} {entry.state}{said}"]
    lines.append(f"  {own_command(entry.command).decode(errors='replace')}")
    lines += [f"- {reason}" for reason in waits.reasons]
    lines += [f"- {one.forecast}" for one in (waits, ends) if one.forecast]
    width = max((len(printable(one.gpu)) for one in waits.verdicts), default=0)
    lines += [""] if waits.verdicts else []
    lines += [
        f"{'*' if one.chosen else ' '} GPU {one.gpu:<{width}}  {one.reason}"
        for one in waits.verdicts
    ]
    if not runs:
        return lines
    return [*lines, "", *(line for run in runs for line in _attempt(run, now_s))]


def _attempt(run: Run, now_s: float) -> list[str]:
    ran = f"{'runs' if run.ended_s is None else 'ran'} {short_duration(run.runtime_s(now_s))}"
    gpus = f"on GPU{'' if len(run.gpu_names) == 1 else 's'} {','.join(run.gpu_names)}"
    how = [run.outcome]
    if run.exit_code:
        how.append(f"exit {run.exit_code}")
    if run.signal is not None:
        how.append(f"signal {run.signal}")
    how += [run.reason] if run.reason and run.reason != run.outcome else []
    first = f"attempt {run.number}: {ran} {gpus} since {since(run.started_s, now_s)}"
    if run.ended_s is not None:
        first += f"; {', '.join(how)}"
    used = _used(run)
    return [first, *([f"  {used}"] if used else [])]


def _used(run: Run) -> str:
    """What it had, beside what it asked for, as far as that was seen."""
    parts = []
    if run.peak_vram_mib is not None:
        parts.append(f"{show_memory(run.peak_vram_mib)} of GPU memory at most")
    if run.memory_mib is not None:
        parts.append(f"{show_memory(run.memory_mib)} asked for")
    if run.user_s is not None and run.system_s is not None:
        parts.append(f"{short_duration(run.user_s + run.system_s)} of CPU time")
    if run.max_rss_mib is not None:
        parts.append(f"{show_memory(run.max_rss_mib)} of RAM in its largest process")
    return ", ".join(parts)


def _object(entry: QueuedJob, runs: list[Run], waits: Waits, ends: _Ends) -> dict[str, Any]:
    return {
        "id": entry.id,
        "state": entry.state,
        "command": own_command(entry.command).decode(errors="replace"),
        "how": how_it_ended(entry) or None,
        "reasons": waits.reasons,
        "ahead": waits.ahead,
        "cards": [one._asdict() for one in waits.verdicts],
        "starts_in": waits.starts._asdict() if waits.starts else None,
        "ends_in": ends.span._asdict() if ends.span else None,
        "forecast": waits.forecast or ends.forecast or None,
        "forecast_runs": waits.runs or ends.runs,
        "attempts": [_run_object(run) for run in runs],
    }


def _run_object(run: Run) -> dict[str, Any]:
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
