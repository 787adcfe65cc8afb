"""`sgs cancel`, `hold`, `release` and `retry`: change what becomes of jobs in the queue."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import entries_of
from simple_gpu_scheduler.errors import PassingError, SgsError, UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import numbers
from simple_gpu_scheduler.queue.records import FAILED, LOST, OPEN_STATES
from simple_gpu_scheduler.system.fds import print_lines, print_stderr


class _Verb(NamedTuple):
    name: str
    what: str  #: it does
    done: str  #: of each job
    none: str  #: where no job was meant that could be


_CANCEL = _Verb("cancel", "End jobs that run (TERM, then KILL after 10 s), and those that wait.",
                "cancelled", "none of them runs or waits")  # fmt: skip
_HOLD = _Verb("hold", "Keep jobs that wait from starting.", "held", "none of them waits")
_RELEASE = _Verb("release", "Let held jobs start.", "released", "none of them is held")
_RETRY = _Verb("retry", "Queue jobs again that failed, were cancelled or lost.", "queued again",
               "none of them has failed")  # fmt: skip


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
    jobs = _jobs(home, args)
    if verb is _CANCEL:
        found = _cancel(home, jobs)
    elif verb is _RETRY:
        found = home.store.retry(jobs)
    else:
        found = home.store.hold(jobs, held=verb is _HOLD)
    if found:
        home.wake()
    print_lines(f"{verb.done}: {numbers(found)}" if found else f"nothing to do: {verb.none}")
    return 0 if found else 1


def _cancel(home: QueueHome, jobs: Sequence[int]) -> list[int]:
    """Cancel jobs: by the queue's file, or by word to the server where that has no room."""
    try:
        return [one.id for one in home.store.cancel(jobs, time.time())]
    except PassingError as error:
        why = str(error)
    found = [one.id for one in home.store.entries(jobs=jobs, states=OPEN_STATES)]
    if not found:
        return []
    try:
        home.cancel_by_word(found)
    except SgsError as error:
        by_hand = _by_hand(home, found)
        raise SgsError(f"{why}, and {error}. Free some room and cancel again{by_hand}") from None
    print_stderr(
        f"sgs cancel: {why}. So the server was told, and will write it once there is room; if it "
        "is killed before, cancel again"
    )
    return found


def _by_hand(home: QueueHome, jobs: Sequence[int]) -> str:
    """What ends the processes of those that run."""
    from simple_gpu_scheduler.queue.server.processes import is_running

    groups = [
        f"-{one.pid}" for one, _ in home.store.running() if one.job in jobs and is_running(one)
    ]
    return f", or end what runs by `kill -- {' '.join(groups)}`" if groups else ""


def _jobs(home: QueueHome, args: argparse.Namespace) -> list[int]:
    if not getattr(args, "all_failed", False):
        return [one.id for one in entries_of(home, args.jobs, args.group)]
    if args.jobs:
        raise UsageError("--all-failed means all of them; expected no number beside it")
    found = home.store.entries(states=(FAILED, LOST), group=args.group)
    return [one.id for one in found]


def _parser(verb: _Verb) -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"sgs {verb.name}",
        allow_abbrev=False,
        description=verb.what,
        epilog=f"examples:\n  sgs {verb.name} 3\n  sgs {verb.name} 3-7 9\n"
        f"  sgs {verb.name} --group lr\n\nexit status: 0, or 1 if there was nothing to do.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--group", metavar="G", help="all jobs of this group")
    if verb is _RETRY:
        parser.add_argument(
            "--all-failed", action="store_true", help="all that failed or were lost, not cancelled"
        )
    parser.add_argument("jobs", nargs="*", metavar="ID")
    return parser
