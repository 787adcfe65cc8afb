"""The options of `simple_gpu_scheduler`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from simple_gpu_scheduler import __version__
from simple_gpu_scheduler.durations import parse_duration_s
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.memory_sizes import parse_memory_mib
from simple_gpu_scheduler.model import MAX_JOBS_PER_GPU, Job, PipePolicy, share_units
from simple_gpu_scheduler.policy.halt import Halt, parse_halt


class Settings(NamedTuple):
    """What the options ask of the loop, checked."""

    template: Job
    policy: PipePolicy
    halt: Halt | None
    keep_free: int
    idle: dict[str, int]  #: what strangers may have on a GPU that is yet taken, see `CardWatch`


def settings(args: argparse.Namespace) -> Settings:
    """Check the values.

    Raises:
        UsageError: naming the option at fault.
    """
    timeout_s = None if args.timeout is None else parse_duration_s(args.timeout, "--timeout")
    template = Job(
        seq=0,
        command=b"",
        gpus=_within("--gpus-per-job", args.gpus_per_job, 1, 4096),
        units=share_units(_jobs_per_gpu(args)),
        timeout_s=timeout_s,
        tries=_within("--retries", args.retries, 0, 10**9),
        memory_mib=None if args.vram is None else parse_memory_mib(args.vram, "--vram"),
    )
    policy = PipePolicy(
        delay_s=parse_duration_s(args.delay, "--delay"),
        grace_s=parse_duration_s(args.grace, "--grace"),
        kill_leftovers=args.kill_leftovers,
        placement=args.placement,
    )
    if (args.resume or args.resume_failed) and args.joblog is None:
        raise UsageError("--resume needs --joblog FILE, the log to resume from")
    _check_files(args)
    idle = {
        "idle_memory_mib": parse_memory_mib(args.idle_memory, "--idle-memory"),
        "idle_utilisation_percent": _within("--idle-utilisation", args.idle_utilisation, 0, 101),
    }
    keep_free = _within("--keep-free", args.keep_free, 0, 4096)
    return Settings(template, policy, parse_halt(args.halt), keep_free, idle)


def _jobs_per_gpu(args: argparse.Namespace) -> int:
    """Jobs that say how much memory they need share a GPU as far as that goes."""
    if args.jobs_per_gpu is None:
        return 1 if args.vram is None else MAX_JOBS_PER_GPU
    return _within("--jobs-per-gpu", args.jobs_per_gpu, 1, MAX_JOBS_PER_GPU)


def _check_files(args: argparse.Namespace) -> None:
    if args.joblog is None or args.json in (None, "-") or args.json == os.devnull:
        return
    if os.path.realpath(args.joblog) == os.path.realpath(args.json):
        raise UsageError(f"--joblog and --json both write to {args.json!r}; name two files")


def _within(option: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise UsageError(f"{option} is {value}; expected {least} to {most}")
    return value


_EXAMPLES = """\
examples:
  simple_gpu_scheduler --gpus 0,1,2 < gpu_commands.txt
  simple_hypersearch "python train.py --lr {lr}" -p lr 0.1 0.01 0.001 | simple_gpu_scheduler
  tail -f -n 0 gpu.queue | simple_gpu_scheduler --gpus 0 1       (submit by: echo CMD >> gpu.queue)
  simple_gpu_scheduler --joblog log --results runs < commands    (later: --resume-failed as well)

A command may say what it needs in a comment: python train.py  # sgs: gpus=2 timeout=2h
(known are gpus=N, jobs-per-gpu=K, timeout=DURATION, retries=N).

signals: the first SIGINT (^C) or SIGHUP reads no more and lets running jobs finish; a second one,
or SIGTERM, sends TERM to the jobs, and KILL after the grace; another one kills at once.
exit status: 0 all jobs succeeded, 1 some failed, 2 usage, 128+n ended by signal n.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: an option is unknown or lacks its value.
    """
    words = list(argv)
    for n, word in enumerate(words[:-1]):
        if word == "--halt" and words[n + 1] in ("-1", "-2"):  # like -0, to argparse
            words[n : n + 2] = [f"--halt={words[n + 1]}"]
            break
    return _parser().parse_args(words)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Left to itself, argparse loads shutil at every start, just to know the width."""
    try:
        columns = os.get_terminal_size(1).columns
    except (OSError, ValueError):
        columns = 100
    return argparse.RawDescriptionHelpFormatter(prog, width=min(columns, 100) - 2)


def _parser() -> argparse.ArgumentParser:
    options = _Parser(
        prog="simple_gpu_scheduler",
        allow_abbrev=False,
        description="Read shell commands from stdin, one a line, and run each on a GPU that is "
        "free, by setting CUDA_VISIBLE_DEVICES.",
        epilog=_EXAMPLES,
        formatter_class=_formatter,
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
        help="ids of the GPUs to use, as 0,1,2 or 0 1 2: numbers of nvidia-smi, UUIDs, MIG "
        "slices; default: all of the machine, within CUDA_VISIBLE_DEVICES if that is set",
    )
    group.add_argument(
        "--gpus-per-job", type=int, default=1, metavar="N", help="GPUs for each job (default 1)"
    )
    group.add_argument("--jobs-per-gpu", type=int, metavar="K", help="jobs on one GPU (default 1)")
    group.add_argument(
        "--vram",
        metavar="SIZE",
        help="memory that a job needs on each of its GPUs, such as 10G: jobs share a GPU as long "
        "as there is so much free",
    )
    group.add_argument(
        "--keep-free",
        type=int,
        default=0,
        metavar="N",
        help="take no GPU if that would leave others fewer than N free ones",
    )
    group.add_argument(
        "--pack",
        dest="placement",
        action="store_const",
        const="pack",
        default="default",
        help="fill GPUs that have jobs already before empty ones",
    )
    group.add_argument(
        "--spread",
        dest="placement",
        action="store_const",
        const="spread",
        help="prefer the emptiest GPUs",
    )
    group.add_argument(
        "--idle-memory",
        default="1G",
        metavar="SIZE",
        help="without --gpus: GPUs are not taken where processes without a lease have so much "
        "memory (default 1G)",
    )
    group.add_argument(
        "--idle-utilisation",
        type=int,
        default=10,
        metavar="PERCENT",
        help="or where they keep the GPU so busy (default 10)",
    )


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("jobs")
    group.add_argument(
        "-0", "--null", action="store_true", help="commands end by NUL and may have several lines"
    )
    group.add_argument("--shell", default="/bin/sh", help="runs the commands (default /bin/sh)")
    group.add_argument(
        "--retries",
        type=int,
        default=1,
        metavar="N",
        help="run a job up to N times while it fails; 0: without end (default 1)",
    )
    group.add_argument(
        "--timeout", metavar="DURATION", help="end a job after so long: 90, 30m, 1h30m"
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
        "--joblog", metavar="FILE", help="log each job that ended, in GNU parallel's columns"
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
        help="write events as JSON lines to FILE, or to stdout (what the jobs print then goes to "
        "stderr)",
    )
