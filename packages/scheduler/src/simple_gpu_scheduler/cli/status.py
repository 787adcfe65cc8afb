"""`sgs status`: the jobs of the queue."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence

from simple_gpu_scheduler.adapters.queue_home import QueueHome
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queued_jobs import as_object, how_it_ended
from simple_gpu_scheduler.durations import short_duration
from simple_gpu_scheduler.queue.records import OPEN_STATES, RUNNING, STATES, Entry
from simple_gpu_scheduler.queue.wrapping import own_command
from simple_gpu_scheduler.results.text import crop, pad, printable

_EPILOG = """\
--json prints a list of objects: id, state, exit_code, signal, reason, command, name, group, key,
priority, gpus (those that it has or had), gpus_asked, vram_mib, snapshot (of the work tree that it
runs in), attempt, submitted, started and ended (seconds since 1970). What isn't known is null.

examples:
  sgs status                    what runs and what waits
  sgs status --all --group lr   all jobs of a group, also those that have ended
  sgs status --state failed
  sgs status --all --json | jq '.[] | select(.state == "failed") | .command'"""

_COLUMNS = ("ID", "state", "GPUs", "time", "command")
_MOST_COMMAND = 60


def main(argv: Sequence[str]) -> int:
    """Print the jobs; returns the exit status."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    states = args.state or (() if args.all else OPEN_STATES)
    found = home.store.entries(states=states, group=args.group, name=args.name)
    if args.json:
        print("[" + ",\n ".join(json.dumps(as_object(one)) for one in found) + "]")
        return 0
    for line in _table(found, time.time()):
        print(line)
    print(_summary(home))
    return 0


def _table(entries: Sequence[Entry], now_s: float) -> list[str]:
    rows = [_COLUMNS, *(_row(one, now_s) for one in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    lines: list[str] = []
    for row in rows if entries else []:
        cells = [pad(cell, width, right=False) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]))
    return lines


def _row(entry: Entry, now_s: float) -> tuple[str, ...]:
    how = how_it_ended(entry)
    blocked = f" (waits for {entry.blockers})" if entry.blockers and entry.state != RUNNING else ""
    gpus = ",".join(entry.gpu_names) or f"({entry.gpus})"
    command = crop(printable(own_command(entry.command).decode(errors="replace")), _MOST_COMMAND)
    state = entry.state + (f": {how}" if how else "") + blocked
    return str(entry.id), state, gpus, _how_long(entry, now_s), command


def _how_long(entry: Entry, now_s: float) -> str:
    if entry.started_s is None or entry.state == "queued":
        return "-"
    return short_duration((entry.ended_s or now_s) - entry.started_s)


def _summary(home: QueueHome) -> str:
    counts = home.store.counts()
    parts = [f"{counts[state]} {state}" for state in STATES if state in counts]
    text = ", ".join(parts) or "The queue is empty."
    if any(counts.get(state) for state in OPEN_STATES) and home.server_pid() is None:
        words = home.last_words()
        text += f"\nNo server runs{': ' + words if words else ''} (sgs server start)."
    return text


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs status",
        allow_abbrev=False,
        description="Show the jobs of the queue: those that run or wait, or more.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--all", action="store_true", help="also those that have ended")
    parser.add_argument(
        "--state", action="append", choices=STATES, help="only these (may be given again)"
    )
    parser.add_argument("--group", metavar="G", help="only those of this group")
    parser.add_argument("--name", help="only those of this name")
    parser.add_argument("--json", action="store_true", help="print a list of objects instead")
    return parser
