"""`sgs edit`: change jobs that wait in the queue."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import BY_SERVER, Parser, gpu_count, whole
from simple_gpu_scheduler.cli.queue.jobs import add_job_arguments, find_jobs
from simple_gpu_scheduler.cli.queue.submit_options import whole_number
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.edits import Edit, Needs
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import job_ids, numbers
from simple_gpu_scheduler.queue.store.edits import edit_jobs
from simple_gpu_scheduler.system.fds import print_lines
from simple_gpu_scheduler.units.durations import parse_duration_s
from simple_gpu_scheduler.units.sizes import parse_memory_mib

_DESCRIPTION = """\
Change jobs of the queue that have not started. Either all of the jobs are changed, or none. What
you don't name stays as it is."""

_EPILOG = """\
--after and --after-any replace all dependencies that a job had.

Sizes: M is MiB and G is GiB: 512M, 10G.

exit status:
  0  the jobs are changed
  1  one of them has started or ended; none is changed
  2  wrong usage; none is changed

examples:
  sgs edit 3 --priority 10
  sgs edit 3-7 9 --gpus 2 --timeout 12h
  sgs edit --group lr --vram none
  sgs edit 8 --after 3,4
  sgs edit 8 --no-after --delay none"""

_NONE = "none"
_NOW = "now"


def main(argv: Sequence[str]) -> int:
    """Change the jobs; returns the exit status.

    Raises:
        UsageError: there are no such jobs, or the options contradict each other.
        SgsError: one of the jobs has started. In all of these cases no job is changed.
    """
    args = _parser().parse_args(argv)
    edit = _edit(args, time.time())
    if edit == Edit():
        raise UsageError(
            "no change is named; expected an option such as --priority, --gpus or --vram"
        )
    home = QueueHome()
    jobs = [job.id for job in find_jobs(home, args.jobs, args.group)]
    changed = edit_jobs(home.store, jobs, edit)
    home.wake()
    print_lines(f"changed: {numbers(changed)}")
    return 0


def _edit(args: argparse.Namespace, now_s: float) -> Edit:
    return Edit(
        args.priority,
        args.gpus,
        _memory_mib(args.vram),
        args.vram == "auto",
        None if args.timeout is None else _seconds(args.timeout, "--timeout"),
        args.retries,
        args.name,
        _not_before_s(args.delay, args.at, now_s),
        _needs(args),
    )


def _memory_mib(text: str | None) -> int | None:
    if text in (None, "auto"):
        return None
    return 0 if text == _NONE else parse_memory_mib(text, "--vram")


def _seconds(text: str, option: str) -> float:
    return 0.0 if text == _NONE else parse_duration_s(text, option)


def _not_before_s(delay: str | None, at: str | None, now_s: float) -> float | None:
    if delay is not None and at is not None:
        raise UsageError("--delay contradicts --at; expected one of them")
    if delay is not None:
        delay_s = _seconds(delay, "--delay")
        return now_s + delay_s if delay_s else 0.0
    if at is None:
        return None
    from simple_gpu_scheduler.units.times import parse_time_s

    return 0.0 if at == _NOW else parse_time_s(at, "--at", now_s, None)


def _needs(args: argparse.Namespace) -> Needs | None:
    needs = Needs(tuple(job_ids(args.after)), tuple(job_ids(args.after_any)))
    if args.no_after and needs != Needs():
        raise UsageError("--no-after contradicts --after and --after-any; expected one of them")
    return needs if args.no_after or needs != Needs() else None


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sgs edit", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add(
        "--priority",
        type=whole_number,
        metavar="P",
        help="set the priority: jobs with a higher number start first",
    )
    add(
        "--gpus",
        type=gpu_count(BY_SERVER),
        metavar="N",
        help="number of GPUs that each job needs at once",
    )
    add(
        "--vram",
        metavar="SIZE",
        help="GPU memory that each job needs on each of its GPUs, such as 10G; auto: measure the "
        "first jobs of a sweep; none: whole GPUs",
    )
    add(
        "--timeout",
        metavar="DURATION",
        help="end the job after this time: 90 (seconds), 30m, 2h; none: never",
    )
    add(
        "--retries",
        type=whole(0, 10**9),
        metavar="N",
        help="run the job at most N times in all while it fails; 1: no retry; 0: no limit",
    )
    add("--name", help="give the job this name")
    add(
        "--after",
        action="append",
        default=[],
        metavar="ID,...",
        help="start the job when these jobs have succeeded",
    )
    add(
        "--after-any",
        action="append",
        default=[],
        metavar="ID,...",
        help="start the job when these jobs have ended, however they ended",
    )
    add("--no-after", action="store_true", help="let the job wait for no other job")
    add(
        "--delay",
        metavar="DURATION",
        help="start the job after this time at the earliest: 90 (seconds), 30m, 2h; none: at once",
    )
    add(
        "--at",
        metavar="TIME",
        help="start the job at this time at the earliest: 23:00, 'tomorrow 8:00', "
        "'2026-12-24 18:00', +2h; now: at once",
    )
    add_job_arguments(parser)
    return parser
