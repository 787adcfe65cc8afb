"""`sgs report`: what the jobs of the queue used, and how they fared."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from simple_gpu_scheduler.cli.figure import pyplot, save
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.queue.attempts import Run
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
from simple_gpu_scheduler.text.terminal import crop, pad, text_width
from simple_gpu_scheduler.units.durations import format_duration, parse_duration_s
from simple_gpu_scheduler.units.sizes import format_memory

_EPILOG = """\
It counts jobs that have run in that time; those that run now count so far. A shared GPU counts for
each of its jobs. A job waits from its submission (or --delay) to its first start, whatever it has
waited for. "waited" and "ran" are means; beside them are the median and the 95th percentile.
"asked" is the most GPU memory that was asked for, "peak" the most that was seen, and "ask" what
would have been enough for all of them, with a margin; it is known where the driver tells it.

--json prints an object: since, until (seconds since 1970), by, total and rows, which have (with
the key of the row) jobs, attempts, running, succeeded, failed, cancelled, lost, retries,
success_rate, gpu_hours, cpu_hours, waited and ran ({mean_s, p50_s, p95_s}), vram_asked_mib,
vram_peak_mib, vram_enough_mib and max_rss_mib. What isn't known is null.

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
_GAP = "  "
_MOST_KEY = 50


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
    cells = [(by, *_TITLES), *((_key(key), *_cells(one)) for key, one in rows.items())]
    if len(rows) > 1 and by != "gpu":  # jobs of several GPUs are in several of its rows
        cells.append(("all", *_cells(total)))
    widths = [max(map(text_width, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [pad(c, w, right=n > 0) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(_GAP.join(padded).rstrip())
    return lines


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _rate(total: Usage) -> str:
    return "" if total.success_rate is None else f", {total.success_rate:.0%} succeeded"


def _key(text: str) -> str:
    return crop(printable(text), _MOST_KEY) or "-"


def _cells(one: Usage) -> tuple[str, ...]:
    return (
        str(one.jobs),
        str(one.succeeded),
        str(one.failed),
        str(one.lost),
        str(one.retries),
        _hours(one.gpu_hours),
        *_spread(one.waited),
        *_spread(one.ran),
        _memory(one.vram_asked_mib),
        _memory(one.vram_peak_mib),
        _memory(one.vram_enough_mib),
    )


def _hours(hours: float) -> str:
    return f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}"


def _spread(of: Spread | None) -> tuple[str, ...]:
    return ("-",) * 3 if of is None else tuple(format_duration(value_s) for value_s in of)


def _memory(mib: int | None) -> str:
    return "-" if mib is None else format_memory(mib)


def _object(by: str, period: Period, total: Usage, rows: dict[str, Usage]) -> dict[str, Any]:
    return {
        "since": period.since_s,
        "until": period.until_s,
        "by": by,
        "total": _usage_object(total),
        "rows": [{"key": key, **_usage_object(one)} for key, one in rows.items()],
    }


def _usage_object(one: Usage) -> dict[str, Any]:
    spreads = {
        name: None if of is None else of._asdict()
        for name, of in (("waited", one.waited), ("ran", one.ran))
    }
    return one._asdict() | spreads


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at_s))


def _draw(path: str, runs: Sequence[Run], period: Period) -> None:
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

    times = [datetime.fromtimestamp(one.at_s) for one in steps]
    axes.fill_between(times, [one.number for one in steps], step="post", alpha=0.6)
    axes.set(ylabel=label)
    axes.set_ylim(bottom=0)
    axes.yaxis.get_major_locator().set_params(integer=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs report",
        allow_abbrev=False,
        description="Show what the jobs of the queue used, and how they fared.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--group", metavar="G", help="only jobs of this group")
    add("--by", choices=BY, default="group", help="a row for each (default: group)")
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--since", metavar="DURATION", default=_SINCE, help=f"so long ago (default {_SINCE})"
    )
    when.add_argument("--all", action="store_true", help="since the beginning")
    add("--figure", metavar="FILE", help="draw GPUs in use and jobs waiting (needs matplotlib)")
    add("--json", action="store_true", help="print an object instead")
    return parser
