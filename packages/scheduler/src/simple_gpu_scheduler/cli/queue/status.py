"""`sgs status`: the jobs of the queue."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import as_object
from simple_gpu_scheduler.cli.queue.listing import (
    Query,
    lines,
    read_listing,
    selected,
    terminal_columns,
)
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import (
    OPEN_STATES,
    STATES,
    QueuedJob,
)
from simple_gpu_scheduler.system.fds import print_lines

_EPILOG = """\
Those that run come before those that wait, which are shown in the order of their turns. Of more
than 25 that wait only the first 20 are shown, and the 5 submitted last; --limit N shows N, --all
all. The last line counts all jobs of the queue, or those of the groups and names.

--json prints a list of objects, of all jobs that are asked for: id, state, exit_code, signal,
reason, command, name, group, key, priority, gpus (those that it has or had), gpus_asked, vram_mib,
snapshot (of the work tree that it runs in), attempt, submitted, started and ended (seconds since
1970). What isn't known is null.

With --watch, on a terminal, q or ^C ends it; elsewhere the table is printed anew, after a blank
line, whenever something has changed (with --json: a list on one line).

examples:
  sgs status                    what runs and what waits
  sgs status --all --group lr   all jobs of a group, also those that have ended
  sgs status --state failed --state lost
  sgs status --watch
  sgs status --all --json | jq '.[] | select(.state == "failed") | .command'"""

_LIMIT = 25


def main(argv: Sequence[str]) -> int:
    """Print the jobs; returns the exit status."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    query = _query(args)
    if args.watch:
        from simple_gpu_scheduler.cli.queue.watch import watch

        watch(home, query, as_json=args.json)
    elif args.json:
        for line in _objects(selected(home, query)):
            print_lines(line)
    else:
        print_lines(*lines(read_listing(home, query), time.time(), terminal_columns()))
    return 0


def _objects(entries: Sequence[QueuedJob]) -> Iterator[str]:
    """A list as JSON, an object a line."""
    if not entries:
        yield "[]"
    for place, one in enumerate(entries, 1):
        before, after = " " if place > 1 else "[", "," if place < len(entries) else "]"
        yield f"{before}{json.dumps(as_object(one))}{after}"


def _query(args: argparse.Namespace) -> Query:
    states = tuple(args.state or (() if args.all else OPEN_STATES))
    limit = args.limit
    if limit is None and not args.all and not args.json:
        limit = _LIMIT
    return Query(states, args.group, args.name, limit)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of jobs, not {text!r}")
    return int(text[:9])


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs status",
        allow_abbrev=False,
        description="Show the jobs of the queue: those that run or wait, or more.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--all", action="store_true", help="also those that have ended, and all of them")
    add("--state", action="append", choices=STATES, help="only these (may be given again)")
    add("--group", action="append", metavar="G", help="only those of this group (likewise)")
    add("--name", action="append", help="only those of this name (likewise)")
    add("--limit", type=_number, metavar="N", help="show so many that wait or have ended")
    add("--watch", action="store_true", help="show them anew whenever something changes")
    add("--json", action="store_true", help="print a list of objects instead")
    return parser
