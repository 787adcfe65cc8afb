"""The options of `simple_gpu_scheduler`, and the settings that they make."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler import __version__
from simple_gpu_scheduler.cli.gpus.options import (
    add_idle_options,
    add_placement_options,
    idle_limits,
    jobs_per_gpu,
    join_negative_values,
    order_name,
    vram_mib,
)
from simple_gpu_scheduler.cli.parser import Parser, whole
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.job import Job, share_units
from simple_gpu_scheduler.pipe.console import print_notice
from simple_gpu_scheduler.pipe.halt import Halt, parse_halt
from simple_gpu_scheduler.policy.model import PipePolicy
from simple_gpu_scheduler.units.durations import parse_duration_s


class Settings(NamedTuple):
    """The values of the options for the pipe, after a check."""

    template: Job  #: what each job needs, unless its directives say otherwise
    policy: PipePolicy
    halt: Halt | None
    keep_free: int
    idle: dict[str, int]  #: how much foreign processes may use of a GPU, see `GpuMonitor`


def read_settings(args: argparse.Namespace) -> Settings:
    """Check the values of the options.

    Raises:
        UsageError: a value is wrong; the message names its option.
    """
    _warn_about_files(args.gpus or ())
    timeout_s = parse_duration_s(args.timeout, "--timeout") or None
    template = Job(
        seq=0,
        command=b"",
        gpus=args.gpus_per_job,
        units=share_units(jobs_per_gpu(args)),
        timeout_s=timeout_s,
        tries=args.retries,
        memory_mib=vram_mib(args.vram),
        auto_memory=args.vram == "auto",
    )
    policy = PipePolicy(
        delay_s=parse_duration_s(args.delay, "--delay"),
        grace_s=parse_duration_s(args.grace, "--grace"),
        kill_leftovers=args.kill_leftovers,
        placement=args.placement,
        order=order_name(args),
    )
    if (args.resume or args.resume_failed) and args.joblog is None:
        raise UsageError("--resume needs --joblog FILE, the job log of the earlier run")
    _check_files(args)
    return Settings(template, policy, parse_halt(args.halt), args.keep_free, idle_limits(args))


def _warn_about_files(ids: Sequence[str]) -> None:
    """Warn if an id is the name of a file: `--gpus 0 commands.txt` is probably a mistake."""
    for gpu in ids:
        if not gpu.isdecimal() and os.path.isfile(gpu):
            print_notice(
                f"warning: {gpu!r} is a file, but here it names a GPU; to run its lines: < {gpu}"
            )


def _check_files(args: argparse.Namespace) -> None:
    if args.joblog is None or args.json in (None, "-") or args.json == os.devnull:
        return
    if os.path.realpath(args.joblog) == os.path.realpath(args.json):
        raise UsageError(f"--joblog and --json both write to {args.json!r}; name two files")


_EPILOG = """\
A command can set options in a comment: python train.py  # sgs: gpus=2 timeout=2h
The keys are gpus=N, jobs-per-gpu=K, vram=SIZE, timeout=DURATION and retries=N.

The units of durations are ms, s (the default), m, h and d: 500ms, 90, 1.5h, 1h30m.
Sizes: M is MiB and G is GiB: 512M, 10G.

signals:
  first SIGINT (^C) or SIGHUP                read no more lines, and wait for the running jobs
  second one, or SIGTERM or SIGQUIT (^\\)     send TERM to the jobs, and KILL after --grace
  one more                                   send KILL at once

exit status:
  0      all jobs succeeded, or as many as --halt ..,success=N asks for
  1      some jobs failed
  2      wrong usage
  128+n  ended by signal n

examples:
  simple_gpu_scheduler --gpus 0,1,2 < gpu_commands.txt
  simple_hypersearch "python train.py --lr {lr}" -p lr 0.1 0.01 0.001 | simple_gpu_scheduler
  tail -f -n 0 gpu.queue | simple_gpu_scheduler --gpus 0 1       (submit by: echo CMD >> gpu.queue)
  simple_gpu_scheduler --joblog log --results runs < commands    (later: add --resume-failed)
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: an option is unknown, or its value is missing.
    """
    return _parser().parse_args(join_negative_values(argv))


def _parser() -> argparse.ArgumentParser:
    options = Parser(
        prog="simple_gpu_scheduler",
        description="Read shell commands from stdin, one per line. Run each on a free GPU, with\n"
        "CUDA_VISIBLE_DEVICES set to it.",
        epilog=_EPILOG,
    )
    options.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}",
        help="print the version and exit",
    )  # fmt: skip
    _add_gpu_options(options)
    _add_job_options(options)
    _add_record_options(options)
    return options


def _add_gpu_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("GPUs")
    group.add_argument(
        "--gpus",
        nargs="+",
        metavar="ID",
        help="ids of the GPUs to use, such as 0,1,2 or 0 1 2: numbers of nvidia-smi (or of HIP), "
        "UUIDs, or MIG slices (default: all GPUs of the machine, within CUDA_VISIBLE_DEVICES or "
        "HIP_VISIBLE_DEVICES if that is set). For the number of GPUs of a job: --gpus-per-job",
    )
    group.add_argument(
        "--gpus-per-job",
        type=whole(1, 4096),
        default=1,
        metavar="N",
        help="number of GPUs for each job (default 1)",
    )
    add_placement_options(group)
    add_idle_options(group, "--gpus")


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("jobs")
    group.add_argument(
        "-0",
        "--null",
        action="store_true",
        help="read commands that end by NUL and may have several lines (default: one per line)",
    )
    group.add_argument(
        "--shell",
        default="/bin/sh",
        metavar="PROGRAM",
        help="program that runs the commands, as PROGRAM -c COMMAND (default /bin/sh)",
    )
    group.add_argument(
        "--retries",
        type=whole(0),
        default=1,
        metavar="N",
        help="run a job at most N times in all while it fails (default 1: no retry); 0: no limit",
    )
    group.add_argument(
        "--timeout",
        default="0",
        metavar="DURATION",
        help="end a job after this time: 90 (seconds), 30m, 1h30m (default 0: never)",
    )
    group.add_argument(
        "--grace",
        default="10",
        metavar="DURATION",
        help="time between the TERM and the KILL signal to a job that must end: 500ms, 30 "
        "(seconds), 2m (default 10 s)",
    )
    group.add_argument(
        "--kill-leftovers",
        action="store_true",
        help="end background processes that a job leaves behind (default: only report them)",
    )
    group.add_argument(
        "--delay",
        default="0",
        metavar="DURATION",
        help="wait at least this time between two starts: 500ms, 5 (seconds), 1m (default 0)",
    )
    group.add_argument(
        "--halt",
        default="never",
        metavar="WHEN,WHY",
        help="stop early: WHEN is soon (start no more jobs) or now (also end running jobs); WHY "
        "is fail, success or done, with a number or percentage: soon,fail=3 (default: never)",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="print the commands that would run, but run none (default: run them)",
    )


def _add_record_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("records")
    group.add_argument(
        "--joblog",
        metavar="FILE",
        help="write a line to FILE for each job that ended, in the format of GNU parallel; "
        "without --resume an earlier log is renamed to FILE~ (default: no log)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="skip jobs listed in the job log; needs --joblog (default: run all jobs)",
    )
    group.add_argument(
        "--resume-failed",
        action="store_true",
        help="like --resume, but run failed jobs again; needs --joblog",
    )
    group.add_argument(
        "--results",
        metavar="DIR",
        help="write the output of each job to DIR/SEQ/stdout and stderr instead of passing it "
        "through, with its command and a result.json; SEQ is the number of its line (default: the "
        "output is passed through)",
    )
    group.add_argument(
        "--quiet",
        action="store_true",
        help="print no line for each job that starts (default: print one)",
    )
    group.add_argument(
        "--bar",
        action=argparse.BooleanOptionalAction,
        help="show a progress bar on stderr (default: if stderr is a terminal and stdin is not)",
    )
    group.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="append events to FILE, one JSON object per line; without FILE, write the events to "
        "stdout and the output of the jobs to stderr (default: no events)",
    )
