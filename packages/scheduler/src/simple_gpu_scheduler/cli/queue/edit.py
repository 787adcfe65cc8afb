"""`sgs edit`: change jobs that wait in the queue."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import Parser, whole
from simple_gpu_scheduler.cli.queue.jobs import entries_of
from simple_gpu_scheduler.cli.queue.submit_options import whole_number
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.edits import Edit, Needs
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import job_ids, numbers
from simple_gpu_scheduler.queue.store.edits import edit_jobs
from simple_gpu_scheduler.system.fds import print_lines
from simple_gpu_scheduler.units.durations import parse_duration_s
from simple_gpu_scheduler.units.sizes import parse_memory_mib

_EPILOG = """\
All of the jobs are changed, or none. What isn't named stays as it is; --after and --after-any take
the place of all that a job has waited for. A job that runs, or has ended, can't be changed.

examples:
  sgs edit 3 --priority 10
  sgs edit 3-7 9 --gpus 2 --timeout 12h
  sgs edit --group lr --vram none
  sgs edit 8 --after 3,4
  sgs edit 8 --no-after --delay none

exit status: 0, 1 if one of them has started or ended, 2 usage; then nothing was changed."""

_NONE = "none"
_NOW = "now"


def main(argv: Sequence[str]) -> int:
    """Change the jobs; returns the exit status.

    Raises:
        UsageError: there are no such jobs, or it can't be what was meant; nothing was changed.
        SgsError: one of them has started; nothing was changed.
    """
    args = _parser().parse_args(argv)
    edit = _edit(args, time.time())
    if edit == Edit():
        raise UsageError(
            "nothing is to be changed; expected one of --priority, --gpus, --vram, .."
        )
    home = QueueHome()
    jobs = [one.id for one in entries_of(home, args.jobs, args.group)]
    found = edit_jobs(home.store, jobs, edit)
    home.wake()
    print_lines(f"changed: {numbers(found)}")
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
    parser = Parser(
        prog="sgs edit",
        allow_abbrev=False,
        description="Change jobs of the queue that have not started.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--group", metavar="G", help="all jobs of this group")
    add("--priority", type=whole_number, metavar="P", help="higher ones start first")
    add("--gpus", type=whole(1, 4096), metavar="N", help="GPUs it needs at once")
    add(
        "--vram",
        metavar="SIZE",
        help="memory of each, as 10G; auto: find it out; none: whole GPUs",
    )
    add("--timeout", metavar="DURATION", help="then it is stopped; none: never")
    add("--retries", type=whole(0, 10**9), metavar="N", help="run up to N times while it fails")
    add("--name", help="what to call it")
    add("--after", action="append", default=[], metavar="ID,...", help="once these succeeded")
    add("--after-any", action="append", default=[], metavar="ID,...", help="once these ended")
    add("--no-after", action="store_true", help="wait for no other job")
    add("--delay", metavar="DURATION", help="not before so long from now; none: at once")
    add("--at", metavar="TIME", help="not before, as in sgs submit; now: at once")
    add("jobs", nargs="*", metavar="ID")
    return parser
