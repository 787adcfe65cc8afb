"""`sgs results`: a table of what the jobs of a results directory printed, best first."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
import sys
from typing import NoReturn

from simple_gpu_scheduler import results_table as rt
from simple_gpu_scheduler.errors import SgsError, UsageError

TAIL_BYTES = 65_536  # how much of the end of an output is searched for metrics
FIRST_TAIL_BYTES = 4_096  # and how much is read first: it mostly has the JSON line
MAX_FAILURES = 5  # failed jobs whose command and last words are shown

DESCRIPTION = """\
Print what the jobs of `simple_gpu_scheduler --results DIR` achieved, best first.

A job's metrics are the last line of its stdout that is a JSON object, for example
{"val_loss": 0.31, "epochs": 20}; where no line is one, the name=number and name: number in
its last 4 KiB, the last of each name. Its parameters are the --name value, --name=value and
name=value of its command. No more than the last 64 KiB of an output are read."""

EPILOG = """\
Without --sort the metric is guessed from its name: validation before test, accuracy and the
like (highest first) before losses and errors (lowest first). NaN, infinite and missing values
come last, then the failed jobs, then those with no result yet. Built-in columns, which are
also names for --sort: job, runtime, cpu, memory (MiB), attempt; and for --columns: rank, gpu,
status, command. They hide a job's own value of the same name, except in --json.

examples:
  sgs results runs/sweep
  sgs results runs/sweep --sort test_loss --top 10
  sgs results runs/sweep --columns rank,lr,val_accuracy,command
  sgs results runs/sweep --json | jq '.[0].parameters'"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line of the subcommand."""
    parser = _Parser(
        prog="sgs results",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("directory", metavar="DIR", help="what --results of simple_gpu_scheduler was given")
    add("--sort", metavar="METRIC", help="rank by this metric, parameter or built-in column")
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--ascending", dest="descending", action="store_false", default=None, help="lowest first"
    )
    way.add_argument(
        "--descending", dest="descending", action="store_true", default=None, help="highest first"
    )
    add("--top", metavar="N", type=_count, help="show the best N only")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--columns", metavar="A,B,..", type=_names, help="show exactly these columns"
    )
    form.add_argument("--json", action="store_true", help="print a list of objects instead")
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
    """Print the results of a directory."""
    args = parse_args(sys.argv[1:] if argv is None else argv)
    jobs = read_jobs(args.directory)
    sort = rt.choose_sort(jobs, args.sort, args.descending)
    ordered = rt.order(jobs, sort)
    shown = ordered
    if args.top is not None:
        best = [job for job in ordered if rt.is_ranked(job, sort) or sort is None]
        shown = best[: args.top]
    if args.json:
        _print_json(shown, sort)
    else:
        _print_table(args, ordered, shown, sort)
    return 0


def _print_json(shown: list[rt.Job], sort: rt.Sort | None) -> None:
    import json

    ranked = (i if rt.is_ranked(job, sort) else None for i, job in enumerate(shown, start=1))
    objects = [rt.to_json(job, rank) for job, rank in zip(shown, ranked, strict=True)]
    print("[" + ",\n ".join(json.dumps(o, allow_nan=False) for o in objects) + "]")


def _print_table(
    args: argparse.Namespace, ordered: list[rt.Job], shown: list[rt.Job], sort: rt.Sort | None
) -> None:
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else None
    if args.columns is None:
        names, shared = rt.columns_by_default(ordered, sort)
        columns = rt.make_columns(shown, names, sort)
    else:
        names, shared = args.columns, {}
        known = rt.column_names(ordered)
        for name in names:
            if name not in known:
                raise UsageError(rt.unknown_name("column", name, known))
        columns = rt.make_columns(shown, names, sort, rt.MAX_TEXT if width else None)
    columns, dropped = rt.fit(columns, width)
    lines = rt.render(columns, width) if columns else []
    lines += ["", *_wrap(rt.notes(ordered, shown, sort, shared, dropped), width)]
    if args.top is None:
        lines += _failures(args.directory, ordered, width)
    print("\n".join(lines))


def _wrap(lines: list[str], width: int | None) -> list[str]:
    if width is None:
        return lines
    import textwrap

    return [part for line in lines for part in textwrap.wrap(line, max(width, 20))]


def _failures(directory: str, jobs: list[rt.Job], width: int | None) -> list[str]:
    failed = [job for job in jobs if job.state == "failed"]
    first = failed[:MAX_FAILURES]
    last_words = {}
    for job in first:
        tail, _ = _tail(os.path.join(directory, str(job.seq), "stderr"), FIRST_TAIL_BYTES)
        last_words[job.seq] = next((x for x in reversed(tail.splitlines()) if x.strip()), "")
    lines = rt.failures(first, last_words)
    if len(failed) > len(first):
        lines.append(f"and {len(failed) - len(first)} more failed jobs")
    return ["", *(rt.crop(x, width) if width else x for x in lines)] if lines else []


# --- Reading ---------------------------------------------------------------------------------


def read_jobs(directory: str) -> list[rt.Job]:
    """Read every job of a results directory, in the order of their numbers."""
    try:
        names = os.listdir(directory)
    except OSError as error:
        shown = rt.printable(directory)
        raise UsageError(f"can't read the results in {shown}: {error.strerror}") from None
    numbers = sorted(int(name) for name in names if _is_job_number(name))
    jobs = [job for seq in numbers if (job := _read_job(directory, seq)) is not None]
    if not jobs:
        raise SgsError(_nothing_there(directory, names))
    return jobs


def _is_job_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and name[0] != "0" and len(name) < 19


def _nothing_there(directory: str, names: list[str]) -> str:
    shown = rt.printable(directory)
    message = (
        f"no results in {shown}: expected folders 1, 2, .. as `simple_gpu_scheduler --results "
        f"{shown}` makes them"
    )
    inside = [
        path
        for path in (os.path.join(directory, name) for name in names)
        if os.path.isdir(os.path.join(path, "1"))
    ]
    if inside:
        newest = max(inside, key=lambda path: (os.stat(path).st_mtime, path))
        message += f"; did you mean {rt.printable(newest)}?"
    return message


def _read_job(directory: str, seq: int) -> rt.Job | None:
    """Read a job's folder; None if it is not one."""
    folder = f"{directory}/{seq}"
    record: str | None
    try:
        record = _read(f"{folder}/result.json", None)[0]
    except FileNotFoundError:
        if not os.path.exists(f"{folder}/stdout"):
            return None
        record = None
    except NotADirectoryError:
        return None
    except OSError:
        record = ""
    output, cut = _tail(f"{folder}/stdout", FIRST_TAIL_BYTES)
    if cut and not rt.has_json_line(output):
        output, _ = _tail(f"{folder}/stdout", TAIL_BYTES)
    return rt.parse_job(seq, record, output)


def _tail(path: str, limit: int) -> tuple[str, bool]:
    """Return the last whole lines of a file, within so many bytes, and whether it has more.

    A file that can't be read is an empty one.
    """
    try:
        text, cut = _read(path, limit)
    except OSError:
        return "", False
    if cut:  # what comes first is the end of a line
        end = re.search(r"[\r\n]", text)
        text = text[end.end() :] if end else ""
    return text, cut


def _read(path: str, limit: int | None) -> tuple[str, bool]:
    """Return the text of a regular file, or of its last bytes, and whether it was cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        cut = limit is not None and status.st_size > limit
        if cut and limit is not None:
            file.seek(-limit, os.SEEK_END)
        data = file.read() if limit is None else file.read(limit)
    return data.decode("utf-8", "replace"), cut
