"""`sgs results`: a table of the metrics that the jobs of a directory printed, best first."""

from __future__ import annotations

import argparse
import json
import shutil
import sys

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.results import ranking, reader, report, table
from simple_gpu_scheduler.results.job import JobResult
from simple_gpu_scheduler.results.parsing import Value
from simple_gpu_scheduler.results.ranking import Sort
from simple_gpu_scheduler.system.fds import print_lines
from simple_gpu_scheduler.text.terminal import crop

MAX_FAILURES = 5  # failed jobs whose command and last line of stderr are shown

DESCRIPTION = """\
Print a table of the jobs of `simple_gpu_scheduler --results DIR`, best first.

The metrics of a job are read from the last 64 KiB of its stdout: from the last line that is a
JSON object, such as {"val_loss": 0.31, "epochs": 20}.
If there is no such line, metrics are all `name=number` and `name: number` in the last 4 KiB. If a
name occurs twice, the last counts.
The parameters of a job are the --name value, --name=value and name=value of its command. Values
that the shell computes, as $(..), `..` and $NAME, are left out. A value that also stands in the
command is a parameter, not a metric."""

EPILOG = """\
Without --sort the metric is guessed from its name. Validation comes before test. Accuracy and the
like (highest first) come before losses and errors (lowest first).

Jobs are listed in this order; only those in 1 have a rank:
  1. succeeded, with a number for the metric
  2. succeeded, without the metric or with NaN or an infinite value
  3. failed
  4. ended early by a signal to the scheduler or by --halt
  5. without a result: lost, if their scheduler is gone (as after kill -9), or running

Built-in columns: job, runtime, cpu, memory (MiB) and attempt, which --sort takes too; and rank,
gpu, status and command. A built-in column replaces a job's value of the same name, except in
--json.

examples:
  sgs results runs/sweep
  sgs results runs/sweep --sort test_loss --top 10
  sgs results runs/sweep --columns rank,lr,val_accuracy,command
  sgs results runs/sweep --json | jq '.[0].parameters'"""


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line of the subcommand.

    Raises:
        UsageError: an option or its value is wrong.
    """
    parser = Parser(prog="sgs results", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("directory", metavar="DIR", help="folder that was given to simple_gpu_scheduler --results")
    add(
        "--sort",
        metavar="METRIC",
        help="rank by this metric, parameter or built-in column (default: a metric that is "
        "guessed from its name)",
    )
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--ascending",
        dest="descending",
        action="store_false",
        default=None,
        help="rank the lowest value first (default: guessed from the name)",
    )
    direction.add_argument(
        "--descending",
        dest="descending",
        action="store_true",
        default=None,
        help="rank the highest value first (default: guessed from the name)",
    )
    add("--top", metavar="N", type=_count, help="show only the best N jobs (default: all jobs)")
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--columns",
        metavar="A,B,..",
        type=_names,
        help="show exactly these columns (default: those that differ between the jobs)",
    )
    output.add_argument(
        "--json", action="store_true", help="print a list of JSON objects instead of a table"
    )
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected names separated by commas")
    return list(dict.fromkeys(names))


def main(argv: list[str] | None = None) -> int:
    """Print the results of a directory.

    Raises:
        UsageError: the directory can't be read, or a name of a metric or column is unknown.
        SgsError: there are no results, or stdout is closed.
    """
    args = parse_args(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:
        raise SgsError("stdout is closed: there is nowhere to print the results")
    jobs = reader.read_jobs(args.directory)
    sort = ranking.choose_sort(jobs, args.sort, args.descending)
    ordered = ranking.order(jobs, sort)
    shown = ordered
    if args.top is not None:
        best = [job for job in ordered if sort is None or ranking.is_ranked(job, sort)]
        shown = best[: args.top]
    if args.json:
        _print_json(shown, sort)
    else:
        _print_table(args, ordered, shown, sort)
    return 0


def _print_json(shown: list[JobResult], sort: Sort | None) -> None:
    ranked = (i if ranking.is_ranked(job, sort) else None for i, job in enumerate(shown, start=1))
    objects = [report.to_json(job, rank) for job, rank in zip(shown, ranked, strict=True)]
    text = ",\n ".join(json.dumps(job, allow_nan=False) for job in objects)
    print_lines(*f"[{text}]".splitlines())


def _print_table(
    args: argparse.Namespace, ordered: list[JobResult], shown: list[JobResult], sort: Sort | None
) -> None:
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else None
    shared: dict[str, Value] = {}
    if args.columns is None:
        names, shared = table.columns_by_default(ordered, sort)
        columns = table.make_columns(shown, names, sort)
    else:
        _check_column_names(args.columns, ordered)
        limit = table.MAX_TEXT if width else None
        columns = table.make_columns(shown, args.columns, sort, limit)
    columns, dropped = table.fit(columns, width)
    lines = table.render(columns, width) if columns else []
    lines += ["", *_wrap(report.notes(ordered, shown, sort, shared, dropped), width)]
    if args.top is None:
        lines += _failures(args.directory, ordered, width)
    print_lines(*lines)


def _check_column_names(names: list[str], jobs: list[JobResult]) -> None:
    known = table.column_names(jobs)
    for name in names:
        if name not in known:
            raise UsageError(ranking.unknown_name("column", name, known))


def _wrap(lines: list[str], width: int | None) -> list[str]:
    if width is None:
        return lines
    import textwrap

    return [part for line in lines for part in textwrap.wrap(line, max(width, 20))]


def _failures(directory: str, jobs: list[JobResult], width: int | None) -> list[str]:
    failed = [job for job in jobs if job.state == "failed"]
    first = failed[:MAX_FAILURES]
    last_lines = {job.seq: reader.last_error_line(directory, job.seq) for job in first}
    lines = report.failures(first, last_lines)
    if more := len(failed) - len(first):
        lines.append(f"and {more} more failed job{'' if more == 1 else 's'}")
    return ["", *(crop(line, width) if width else line for line in lines)] if lines else []
