"""`sgs cancel`, `hold`, `release` and `retry`: change the states of jobs in the queue."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import add_job_arguments, find_jobs
from simple_gpu_scheduler.errors import PassingError, SgsError, UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import numbers
from simple_gpu_scheduler.queue.records import FAILED, LOST, OPEN_STATES
from simple_gpu_scheduler.system.fds import print_lines, print_stderr


class _Verb(NamedTuple):
    name: str
    description: str
    done: str  #: said of the jobs that were changed
    nothing: str  #: said if no job could be changed


_CANCEL = _Verb(
    "cancel",
    "End jobs of the queue. A job that runs gets TERM, and KILL after 10 s. A job that waits\n"
    "does not start.",
    "cancelled",
    "none of them runs or waits",
)
_HOLD = _Verb(
    "hold",
    "Hold queued jobs: they do not start until you run sgs release.",
    "held",
    "none of them waits",
)
_RELEASE = _Verb(
    "release",
    "Release held jobs, so that they can start.",
    "released",
    "none of them is held",
)
_RETRY = _Verb(
    "retry",
    "Queue jobs again that failed, were cancelled or were lost.",
    "queued again",
    "none of them has failed",
)


def cancel(argv: Sequence[str]) -> int:
    """`sgs cancel`."""
    return _change(_CANCEL, argv)


def hold(argv: Sequence[str]) -> int:
    """`sgs hold`."""
    return _change(_HOLD, argv)


def release(argv: Sequence[str]) -> int:
    """`sgs release`."""
    return _change(_RELEASE, argv)


def retry(argv: Sequence[str]) -> int:
    """`sgs retry`."""
    return _change(_RETRY, argv)


def _change(verb: _Verb, argv: Sequence[str]) -> int:
    args = _parser(verb).parse_args(argv)
    home = QueueHome()
    jobs = _named_jobs(home, args)
    if verb is _CANCEL:
        changed = _cancel(home, jobs)
    elif verb is _RETRY:
        changed = home.store.retry(jobs)
    else:
        changed = home.store.hold(jobs, held=verb is _HOLD)
    if changed:
        home.wake()
    print_lines(
        f"{verb.done}: {numbers(changed)}" if changed else f"nothing to do: {verb.nothing}"
    )
    return 0 if changed else 1


def _cancel(home: QueueHome, jobs: Sequence[int]) -> list[int]:
    """Cancel jobs in the queue's file, or through the server if the disk is full."""
    try:
        return [job.id for job in home.store.cancel(jobs, time.time())]
    except PassingError as error:
        reason = str(error)
    open_jobs = [job.id for job in home.store.entries(jobs=jobs, states=OPEN_STATES)]
    if not open_jobs:
        return []
    try:
        home.cancel_by_word(open_jobs)
    except SgsError as error:
        by_hand = _kill_command(home, open_jobs)
        raise SgsError(
            f"{reason}, and {error}. Free some room and cancel again{by_hand}"
        ) from None
    print_stderr(
        f"sgs cancel: {reason}. So the server was asked to cancel, and will record it once there "
        "is room. If the server is killed before that, cancel again"
    )
    return open_jobs


def _kill_command(home: QueueHome, jobs: Sequence[int]) -> str:
    """Return the advice to end by hand the processes of jobs that run; empty if none runs."""
    from simple_gpu_scheduler.queue.server.processes import is_running

    groups = [
        f"-{attempt.pid}"
        for attempt, _ in home.store.running()
        if attempt.job in jobs and is_running(attempt)
    ]
    return f", or end their processes by `kill -- {' '.join(groups)}`" if groups else ""


def _named_jobs(home: QueueHome, args: argparse.Namespace) -> list[int]:
    if not getattr(args, "all_failed", False):
        return [job.id for job in find_jobs(home, args.jobs, args.group)]
    if args.jobs:
        raise UsageError("--all-failed means all failed jobs; expected no number beside it")
    failed = home.store.entries(states=(FAILED, LOST), group=args.group)
    return [job.id for job in failed]


def _parser(verb: _Verb) -> argparse.ArgumentParser:
    all_failed = f"  sgs {verb.name} --all-failed\n" if verb is _RETRY else ""
    parser = Parser(
        prog=f"sgs {verb.name}",
        description=verb.description,
        epilog="exit status: 0, or 1 if there was nothing to do.\n\n"
        f"examples:\n  sgs {verb.name} 3\n  sgs {verb.name} 3-7 9\n  sgs {verb.name} --group lr\n"
        f"{all_failed}",
    )
    if verb is _RETRY:
        parser.add_argument(
            "--all-failed",
            action="store_true",
            help="retry all jobs that failed or were lost (with --group: those of the group), but "
            "none that was cancelled",
        )
    add_job_arguments(parser)
    return parser
