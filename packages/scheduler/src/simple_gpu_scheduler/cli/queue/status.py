"""`sgs status`: show the jobs of the queue."""

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

_DESCRIPTION = """\
Show the jobs of the queue that run or wait. Running jobs come first. Waiting jobs follow in the
order in which they will start. If more than 25 jobs wait, the first 20 and the 5 submitted last
are shown. The last line counts all jobs of the queue, or of the groups and names that you gave."""

_EPILOG = """\
--json prints a list of objects with these keys. What isn't known is null.
  id, state, exit_code, signal, reason   reason: why it ended so, in words
  command, name, group, key, priority
  gpus, gpus_asked                       gpus: the GPUs that it has or had
  vram_mib                               GPU memory that it asks for, in MiB
  snapshot                               the snapshot of your code in which it runs
  attempt                                the number of its last attempt
  submitted, started, ended              in seconds since 1970

examples:
  sgs status                    what runs and what waits
  sgs status --all --group lr   all jobs of a group, also those that ended
  sgs status --state failed --state lost
  sgs status --watch
  sgs status --all --json | jq '.[] | select(.state == "failed") | .command'"""

_LIMIT = 25


def main(argv: Sequence[str]) -> int:
    """Print the jobs; returns the exit status."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    query = _make_query(args)
    if args.watch:
        from simple_gpu_scheduler.cli.queue.watch import watch

        watch(home, query, as_json=args.json)
    elif args.json:
        for line in _objects(selected(home, query)):
            print_lines(line)
    else:
        print_lines(*lines(read_listing(home, query), time.time(), terminal_columns()))
    return 0


def _objects(jobs: Sequence[QueuedJob]) -> Iterator[str]:
    """Yield the lines of a JSON list, one for each job."""
    if not jobs:
        yield "[]"
    for place, job in enumerate(jobs, 1):
        before, after = " " if place > 1 else "[", "," if place < len(jobs) else "]"
        yield f"{before}{json.dumps(as_object(job))}{after}"


def _make_query(args: argparse.Namespace) -> Query:
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
    parser = Parser(prog="sgs status", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add(
        "--all",
        action="store_true",
        help="show all jobs, also those that ended (default: jobs that run or wait)",
    )
    add(
        "--state",
        action="append",
        choices=STATES,
        help="show only jobs in this state; may be given several times",
    )
    add(
        "--group",
        action="append",
        metavar="G",
        help="show only jobs of the group G; may be given several times",
    )
    add(
        "--name",
        action="append",
        help="show only jobs with this name; may be given several times",
    )
    add(
        "--limit",
        type=_number,
        metavar="N",
        help="show at most N jobs that wait, and N that ended (default 25; with --all and --json: "
        "all)",
    )
    add(
        "--watch",
        action="store_true",
        help="show the jobs again whenever something changes, until ^C, or q on a terminal",
    )
    add("--json", action="store_true", help="print a list of JSON objects instead of a table")
    return parser
