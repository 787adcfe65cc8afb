"""`sgs wait`: until jobs of the queue have ended."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import entries_of, how_it_ended, wait_for_news
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import numbers
from simple_gpu_scheduler.queue.records import OPEN_STATES, SUCCEEDED, QueuedJob
from simple_gpu_scheduler.system.fds import print_stderr

_EPILOG = """\
exit status: of one job, its own (128+n if signal n ended it); of several, 0 if all have succeeded,
else 1. A job without an exit status (cancelled, lost) counts as 1.

examples:
  sgs wait 3 && sgs submit -- python evaluate.py
  sgs wait --group lr"""


def main(argv: Sequence[str]) -> int:
    """Wait; returns the exit status of the jobs."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    jobs = [one.id for one in entries_of(home, args.jobs, args.group)]

    def is_over() -> bool:
        return not home.store.entries(jobs=jobs, states=OPEN_STATES, most=1)

    if not is_over():
        _tell_what_keeps(home)
    wait_for_news(home, is_over)
    entries = home.store.entries(jobs=jobs)
    for one in entries:
        if one.state != SUCCEEDED:
            how = how_it_ended(one)
            print_stderr(f"sgs wait: job {one.id} {one.state}{how and ': ' + how}")
    if gone := set(jobs) - {one.id for one in entries}:
        raise SgsError(
            f"nobody knows how job {numbers(list(gone))} ended: it was removed (sgs clean)"
        )
    if len(entries) == 1:
        return _status(entries[0])
    return int(any(one.state != SUCCEEDED for one in entries))


def _tell_what_keeps(home: QueueHome) -> None:
    """See that there is a server; say what keeps all jobs from starting."""
    words = "the queue is drained: it starts nothing before sgs server resume"
    try:
        home.start_server()
    except SgsError as error:
        words = f"{error}; waiting until one can (sgs server start)"
    else:
        if not home.store.setting("drained"):
            return
    print_stderr(f"sgs wait: {words}")


def _status(entry: QueuedJob) -> int:
    if entry.signal is not None:
        return 128 + entry.signal
    return 1 if entry.exit_code is None else entry.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs wait",
        allow_abbrev=False,
        description="Wait until jobs of the queue have ended.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--group", metavar="G", help="all jobs of this group")
    parser.add_argument("jobs", nargs="*", metavar="ID")
    return parser
