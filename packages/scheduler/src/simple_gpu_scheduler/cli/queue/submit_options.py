"""The options of `sgs submit`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from simple_gpu_scheduler.cli.parser import BY_SERVER, Parser, gpu_count

_DESCRIPTION = """\
Put jobs into the queue, and print the number of each. Once a number is printed, the job is safely
on disk: killing any process will not lose it.

A job starts as soon as GPUs are free, in this folder, with this environment and umask.
`sgs logs ID` prints its output.

The command follows --. Several arguments are run exactly as given, without a shell. A single
quoted argument is run by /bin/sh. Without a command, each line of stdin is a command; either all
of them are accepted, or none. A command can set options in a comment:
python train.py  # sgs: gpus=2 vram=auto priority=5"""

_EPILOG = """\
scripts:
  The script is copied now. Later changes to the file have no effect. Lines at its head such as
  `#SGS --gpus 2 --vram 10G` set options; options given here overrule them. A file with such lines
  needs no --script. Arguments after -- go to the script.

--freeze:
  The git work tree around this folder is copied now. For files that git ignores, the copy has
  links. Later changes to the code have no effect. Each job runs in a copy of its own,
  $SGS_FROZEN, until `sgs clean` removes it. Packages installed by pip install -e are still
  imported from their own folders.

--key:
  If a job with this key exists, no job is added, and the number of that job is printed. In a list,
  the key of each job is K and its command. So you can submit the same list again, and only new
  commands are added.

--notify:
  CMD is run by /bin/sh once the job has ended for good. Its environment has SGS_JOB, SGS_STATE
  (succeeded, failed, cancelled or lost), SGS_EXIT_CODE, SGS_REASON, SGS_NAME, SGS_GROUP, SGS_LOG
  and SGS_COMMAND. To run a command after a whole group: sgs wait --group G; CMD

durations and sizes:
  The units of durations are ms, s (the default), m, h and d: 500ms, 90, 1.5h, 1h30m.
  Sizes: M is MiB and G is GiB: 512M, 10G.

environment:
  The queue's file (mode 0600) keeps the environment, with its tokens, until you run
  `sgs clean --finished`.
  Keys to sessions, such as JUPYTERHUB_API_TOKEN, are never kept. SGS_NEVER_KEEP names others:
  SGS_NEVER_KEEP='AWS_SECRET_ACCESS_KEY,*_PASSWORD' sgs submit ...

examples:
  sgs submit -- python train.py --lr 0.1
  sgs submit --gpus 2 --timeout 8h -- torchrun --nproc-per-node 2 train.py
  sgs submit --vram auto --at 'tomorrow 8:00' -- python train.py
  sgs submit --after 3 -- python evaluate.py
  sgs submit --script train.sh -- --lr 0.1
  sgs submit --freeze -- python train.py
  sgs submit --group lr --key lr --file commands.txt
  sgs submit --notify 'mail -s "job $SGS_JOB $SGS_STATE" me < "$SGS_LOG"' -- python train.py
  simple_hypersearch "python train.py --lr {lr}" -p lr 0.1 0.01 | sgs submit --group lr --key lr
"""

_MOST = 10**9


def whole_number(text: str) -> int:
    """Read a whole number that the database can hold; it may be negative.

    Raises:
        argparse.ArgumentTypeError: it is no such number.
    """
    try:
        number = int(text)
    except ValueError:
        number = _MOST + 1
    if abs(number) > _MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}")
    return number


def _tries(text: str) -> int:
    if (number := whole_number(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected 0 (no limit), 1 or more, not {text!r}")
    return number


def _delay(text: str) -> Callable[[float], float]:
    from simple_gpu_scheduler.units.times import after_s

    return lambda now_s: after_s(text, "--delay", now_s)


def _at(text: str) -> Callable[[float], float]:
    from simple_gpu_scheduler.units.times import parse_time_s

    return lambda now_s: parse_time_s(text, "--at", now_s, None)


def parser() -> argparse.ArgumentParser:
    """Return the parser of `sgs submit`, which also reads the #SGS lines of scripts."""
    submit = Parser(prog="sgs submit", description=_DESCRIPTION, epilog=_EPILOG)
    _add_needs(submit.add_argument_group("what the job needs").add_argument)
    _add_times(submit.add_argument_group("when it starts, and what follows").add_argument)
    _add_names(submit.add_argument_group("names").add_argument)
    _add_sources(submit.add_argument_group("what to run").add_argument)
    submit.add_argument(
        "command", nargs="*", metavar="-- command", help="command to run, with its arguments"
    )
    return submit


_Add = Callable[..., argparse.Action]


def _add_needs(add: _Add) -> None:
    add(
        "--gpus",
        type=gpu_count(BY_SERVER, _MOST),
        default=1,
        metavar="N",
        help="number of GPUs that the job needs at once (default 1)",
    )
    add(
        "--vram",
        metavar="SIZE",
        help="GPU memory that the job needs on each of its GPUs, such as 10G; other jobs may use "
        "the rest (default: whole GPUs); auto: measure the first jobs of a sweep",
    )
    add(
        "--jobs-per-gpu",
        type=whole_number,
        metavar="K",
        help="number of such jobs that share one GPU (default 1; with --vram as many as fit)",
    )
    add(
        "--timeout",
        metavar="DURATION",
        help="end the job after this time: 90 (seconds), 30m, 8h; its processes get TERM, and "
        "KILL after 10 s (default: never)",
    )
    add(
        "--retries",
        type=_tries,
        default=1,
        metavar="N",
        help="run the job at most N times in all while it fails (default 1: no retry); 0: no "
        "limit",
    )
    add(
        "--requeue",
        action="store_true",
        help="run the job again if the machine goes down while it runs (default: it is lost)",
    )
    add(
        "--kill-leftovers",
        action="store_true",
        help="end background processes that the job leaves behind (default: only report them)",
    )


def _add_times(add: _Add) -> None:
    add(
        "--priority",
        type=whole_number,
        default=0,
        metavar="P",
        help="priority: jobs with a higher number start first (default 0)",
    )
    add(
        "--after",
        action="append",
        default=[],
        metavar="ID,...",
        help="start the job when these jobs have succeeded; cancel it if one of them does not",
    )
    add(
        "--after-any",
        action="append",
        default=[],
        metavar="ID,...",
        help="start the job when these jobs have ended, however they ended",
    )
    add(
        "--delay",
        dest="start",
        type=_delay,
        metavar="DURATION",
        help="start the job after this time at the earliest: 90 (seconds), 30m, 2h (default 0)",
    )
    add(
        "--at",
        dest="start",
        type=_at,
        metavar="TIME",
        help="start the job at this time at the earliest: 23:00, 'tomorrow 8:00', "
        "'2026-12-24 18:00', +2h (default: now)",
    )
    add(
        "--hold",
        action="store_true",
        help="hold the job: it does not start until you run sgs release (default: it may start at "
        "once)",
    )
    add(
        "--notify",
        metavar="CMD",
        help="run the shell command CMD when the job has ended, with $SGS_JOB, $SGS_STATE and "
        "others, see below (default: none)",
    )


def _add_names(add: _Add) -> None:
    add("--name", default="", help="give the job this name (default: none)")
    add("--group", default="", metavar="G", help="put the job in group G (default: none)")
    add(
        "--key",
        metavar="K",
        help="skip the job if a job with this key exists, see below (default: no key)",
    )
    add(
        "--retry-failed",
        action="store_true",
        help="with --key: queue the job with this key again if it failed, was cancelled or was "
        "lost (default: skip it)",
    )


def _add_sources(add: _Add) -> None:
    add(
        "--freeze",
        action="store_true",
        help="copy this git work tree now and run the job in the copy, see below (default: run in "
        "this folder)",
    )
    add(
        "--script",
        metavar="FILE",
        help="copy this script now and run it, see below (default: run a command)",
    )
    add(
        "--file",
        metavar="FILE",
        help="submit each line of FILE as a job; -: each line of stdin (the default without a "
        "command)",
    )
    null = add(
        "--null",
        action="store_true",
        help="read commands that end by NUL and may have several lines (default: one per line)",
    )
    # Only for the help: a real option -0 would keep argparse from reading `--priority -3`.
    null.option_strings = ["-0", "--null"]
