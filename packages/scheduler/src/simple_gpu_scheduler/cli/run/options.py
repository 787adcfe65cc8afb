"""The options of `simple_gpu_scheduler`."""

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
    joined,
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
    """What the options ask of the loop, checked."""

    template: Job
    policy: PipePolicy
    halt: Halt | None
    keep_free: int
    idle: dict[str, int]  #: what strangers may have on a GPU that is yet taken, see `GpuMonitor`


def settings(args: argparse.Namespace) -> Settings:
    """Check the values.

    Raises:
        UsageError: naming the option at fault.
    """
    _hint_at_files(args.gpus or ())
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
        raise UsageError("--resume needs --joblog FILE, the log to resume from")
    _check_files(args)
    return Settings(template, policy, parse_halt(args.halt), args.keep_free, idle_limits(args))


def _hint_at_files(ids: Sequence[str]) -> None:
    """`--gpus 0 commands.txt` names two GPUs, but was hardly meant so."""
    for one in ids:
        if not one.isdecimal() and os.path.isfile(one):
            hint = (
                f"warning: {one!r} is a file, but here it names a GPU; to run its lines: < {one}"
            )
            print_notice(hint)


def _check_files(args: argparse.Namespace) -> None:
    if args.joblog is None or args.json in (None, "-") or args.json == os.devnull:
        return
    if os.path.realpath(args.joblog) == os.path.realpath(args.json):
        raise UsageError(f"--joblog and --json both write to {args.json!r}; name two files")


_EXAMPLES = """\
examples:
  simple_gpu_scheduler --gpus 0,1,2 < gpu_commands.txt
  simple_hypersearch "python train.py --lr {lr}" -p lr 0.1 0.01 0.001 | simple_gpu_scheduler
  tail -f -n 0 gpu.queue | simple_gpu_scheduler --gpus 0 1       (submit by: echo CMD >> gpu.queue)
  simple_gpu_scheduler --joblog log --results runs < commands    (later: --resume-failed as well)

A command may say what it needs in a comment: python train.py  # sgs: gpus=2 timeout=2h
(known are gpus=N, jobs-per-gpu=K, vram=SIZE, timeout=DURATION, retries=N).

Durations have the units ms, s (if there is none), m, h and d: 500ms, 90, 1.5h, 1h30m.

signals: the first SIGINT (^C) or SIGHUP reads no more and lets running jobs finish; a second one,
SIGTERM or SIGQUIT (^\\) sends TERM to the jobs, and KILL after the grace; one more kills at once.
exit status: 0 all jobs succeeded (or those that --halt ..,success=N asks for), 1 some failed,
2 usage, 128+n ended by signal n.
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: an option is unknown or lacks its value.
    """
    return _parser().parse_args(joined(argv))


def _parser() -> argparse.ArgumentParser:
    options = Parser(
        prog="simple_gpu_scheduler",
        allow_abbrev=False,
        description="Read shell commands from stdin, one a line, and run each on a GPU that is "
        "free, by setting CUDA_VISIBLE_DEVICES.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
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
        help="ids of the GPUs to use, as 0,1,2 or 0 1 2: numbers of nvidia-smi (or of HIP), "
        "UUIDs, MIG slices; default: all of the machine, within CUDA_VISIBLE_DEVICES (or "
        "HIP_VISIBLE_DEVICES) if that is set",
    )
    group.add_argument(
        "--gpus-per-job",
        type=whole(1, 4096),
        default=1,
        metavar="N",
        help="GPUs for each job (default 1)",
    )
    add_placement_options(group)
    add_idle_options(group)


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("jobs")
    group.add_argument(
        "-0",
        "--null",
        action="store_true",
        help="commands end by NUL and may have several lines (else by a newline, or CR and one)",
    )
    group.add_argument("--shell", default="/bin/sh", help="runs the commands (default /bin/sh)")
    group.add_argument(
        "--retries",
        type=whole(0),
        default=1,
        metavar="N",
        help="run a job up to N times while it fails; 0: without end (default 1)",
    )
    group.add_argument(
        "--timeout",
        default="0",
        metavar="DURATION",
        help="end a job after so long: 90, 30m, 1h30m (default 0: never)",
    )
    group.add_argument(
        "--grace", default="10", metavar="DURATION", help="from TERM to KILL (default 10 s)"
    )
    group.add_argument(
        "--kill-leftovers", action="store_true", help="end what a job leaves running behind"
    )
    group.add_argument(
        "--delay", default="0", metavar="DURATION", help="least time between two starts"
    )
    group.add_argument(
        "--halt",
        default="never",
        metavar="WHEN,WHY",
        help="give up early: soon,fail=1 (running jobs finish), now,fail=10%% (they are ended), "
        "now,success=1, soon,done=5; default never",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print the commands that would run, and run none"
    )


def _add_record_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("records")
    group.add_argument(
        "--joblog",
        metavar="FILE",
        help="log each job that ended, in GNU parallel's columns; "
        "without --resume an earlier log is set aside as FILE~",
    )
    group.add_argument("--resume", action="store_true", help="skip the jobs that the joblog has")
    group.add_argument(
        "--resume-failed", action="store_true", help="skip those that succeeded, rerun the failed"
    )
    group.add_argument(
        "--results",
        metavar="DIR",
        help="write DIR/SEQ/command, stdout, stderr and result.json for each job, instead of "
        "passing its output through",
    )
    group.add_argument(
        "--quiet", action="store_true", help="don't print a line for each job that starts"
    )
    group.add_argument(
        "--bar",
        action=argparse.BooleanOptionalAction,
        help="show progress on stderr (default: if that is a terminal)",
    )
    group.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="append events as JSON lines to FILE, or write them to stdout (what the jobs print "
        "then goes to stderr)",
    )
