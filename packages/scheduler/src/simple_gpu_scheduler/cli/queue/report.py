"""`sgs report`: what the jobs of the queue used, and how they ended."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from simple_gpu_scheduler.cli.figure import pyplot, save
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.queue.attempt_history import AttemptRecord
from simple_gpu_scheduler.queue.home import home_if_any
from simple_gpu_scheduler.queue.store import history
from simple_gpu_scheduler.queue.usage import (
    BY,
    Period,
    Spread,
    Step,
    Usage,
    gpus_in_use,
    jobs_waiting,
    parts,
    usage,
)
from simple_gpu_scheduler.system.fds import print_lines
from simple_gpu_scheduler.system.users import user_name
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.table import format_table
from simple_gpu_scheduler.text.terminal import crop
from simple_gpu_scheduler.units.durations import format_duration, parse_duration_s
from simple_gpu_scheduler.units.sizes import format_memory

_DESCRIPTION = """\
Show what the jobs of the queue used, and how they ended. The report counts jobs that ran within
the time. A job that still runs counts up to now."""

_EPILOG = """\
columns:
  jobs, ok, failed, lost, retries   numbers of jobs, and of their retries
  GPU h    GPU hours; a shared GPU counts for each of its jobs
  waited   mean time from the submission (or --delay) to the first start
  ran      mean run time of an attempt
  p50, p95   the median and the 95th percentile of the column to their left
  asked    the most GPU memory that a job asked for
  peak     the most GPU memory that a job used, if the driver reports it
  ask      GPU memory that is enough for all of these jobs, with a margin

--json prints an object: since, until (seconds since 1970), by, total and rows. The total and each
row have these keys, and a row has its key. What isn't known is null.
  jobs, attempts, running, succeeded, failed, cancelled, lost, retries, success_rate
  gpu_hours, cpu_hours
  waited, ran                          {mean_s, p50_s, p95_s}
  vram_asked_mib, vram_peak_mib, vram_enough_mib, max_rss_mib

examples:
  sgs report
  sgs report --since 7d --by day
  sgs report --all --group lr --by command
  sgs report --since 1d --figure use.png"""

_SINCE = "30d"
_TITLES = (
    *("jobs", "ok", "failed", "lost", "retries", "GPU h", "waited", "p50", "p95"),
    *("ran", "p50", "p95", "asked", "peak", "ask"),
)
_MOST_KEY = 50  #: width of a row's key, in columns of the terminal


def main(argv: Sequence[str]) -> int:
    """Print the report; returns the exit status.

    Raises:
        SgsError: the queue can't be read, or the figure can't be drawn.
    """
    args = _parser().parse_args(argv)
    if args.figure:
        pyplot()  # before the work, not after
    until_s = time.time()
    since_s = 0.0 if args.all else until_s - parse_duration_s(args.since, "--since")
    home = home_if_any()
    runs = history.runs_since(home.store.file, since_s, args.group) if home else []
    if args.all:
        since_s = min((min(run.submitted_s, run.started_s) for run in runs), default=until_s)
    period = Period(since_s, until_s)
    rows = {
        key: usage(some, period)
        for key, some in sorted(parts(runs, args.by, _day, user_name(os.geteuid())).items())
    }
    total = usage(runs, period)
    if args.json:
        print_lines(*json.dumps(_object(args.by, period, total, rows), indent=1).splitlines())
    else:
        print_lines(*_text(args.by, period, total, rows))
    if args.figure:
        _draw(args.figure, runs, period)
    return 0


def _text(by: str, period: Period, total: Usage, rows: dict[str, Usage]) -> list[str]:
    since = time.strftime("%d %b %Y %H:%M", time.localtime(period.since_s))
    if not total.attempts:
        return [f"No job has run since {since}."]
    first = f"{_many(total.jobs, 'job')} in {_many(total.attempts, 'attempt')} since {since}"
    lines = [f"{first}: {_hours(total.gpu_hours)} GPU hours{_rate(total)}", ""]
    cells = [(by, *_TITLES), *((_key(key), *_cells(row)) for key, row in rows.items())]
    if len(rows) > 1 and by != "gpu":  # a job on several GPUs is in several rows
        cells.append(("all", *_cells(total)))
    return lines + format_table(cells, [False, *(True for _ in _TITLES)])


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _rate(total: Usage) -> str:
    return "" if total.success_rate is None else f", {total.success_rate:.0%} succeeded"


def _key(text: str) -> str:
    return crop(printable(text), _MOST_KEY) or "-"


def _cells(used: Usage) -> tuple[str, ...]:
    return (
        str(used.jobs),
        str(used.succeeded),
        str(used.failed),
        str(used.lost),
        str(used.retries),
        _hours(used.gpu_hours),
        *_spread(used.waited),
        *_spread(used.ran),
        _memory(used.vram_asked_mib),
        _memory(used.vram_peak_mib),
        _memory(used.vram_enough_mib),
    )


def _hours(hours: float) -> str:
    return f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}"


def _spread(spread: Spread | None) -> tuple[str, ...]:
    return ("-",) * 3 if spread is None else tuple(format_duration(value_s) for value_s in spread)


def _memory(mib: int | None) -> str:
    return "-" if mib is None else format_memory(mib)


def _object(by: str, period: Period, total: Usage, rows: dict[str, Usage]) -> dict[str, Any]:
    return {
        "since": period.since_s,
        "until": period.until_s,
        "by": by,
        "total": _usage_object(total),
        "rows": [{"key": key, **_usage_object(row)} for key, row in rows.items()],
    }


def _usage_object(used: Usage) -> dict[str, Any]:
    spreads = {
        name: None if spread is None else spread._asdict()
        for name, spread in (("waited", used.waited), ("ran", used.ran))
    }
    return used._asdict() | spreads


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at_s))


def _draw(path: str, runs: Sequence[AttemptRecord], period: Period) -> None:
    first_s = min((min(run.submitted_s, run.started_s) for run in runs), default=period.since_s)
    period = period._replace(since_s=max(period.since_s, first_s))
    figure, (above, below) = pyplot().subplots(
        2, 1, figsize=(8, 5), sharex=True, layout="constrained"
    )
    _draw_steps(above, gpus_in_use(runs, period), "GPUs in use")
    _draw_steps(below, jobs_waiting(runs, period), "jobs waiting")
    below.tick_params(axis="x", rotation=30)
    save(figure, path)


def _draw_steps(axes: Any, steps: Sequence[Step], label: str) -> None:
    from datetime import datetime

    times = [datetime.fromtimestamp(step.at_s) for step in steps]
    axes.fill_between(times, [step.number for step in steps], step="post", alpha=0.6)
    axes.set(ylabel=label)
    axes.set_ylim(bottom=0)
    axes.yaxis.get_major_locator().set_params(integer=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sgs report", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("--group", metavar="G", help="count only jobs of the group G (default: all jobs)")
    add(
        "--by",
        choices=BY,
        default="group",
        help="group the rows by user, group, name, command, day or GPU (default group)",
    )
    period = parser.add_mutually_exclusive_group()
    period.add_argument(
        "--since",
        metavar="DURATION",
        default=_SINCE,
        help=f"count jobs that ran within this time before now, such as 12h or 7d (default "
        f"{_SINCE})",
    )
    period.add_argument(
        "--all", action="store_true", help="count all jobs, since the first one was submitted"
    )
    add(
        "--figure",
        metavar="FILE",
        help="draw the GPUs in use and the jobs waiting over time into FILE, such as use.png "
        "(needs matplotlib)",
    )
    add("--json", action="store_true", help="print a JSON object instead of a table")
    return parser
