"""`sgs logs`: what a job of the queue has printed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import entries_of, wait_for_news
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import OPEN_STATES
from simple_gpu_scheduler.system.fds import write_whole

_CHUNK_BYTES = 1 << 16


def main(argv: Sequence[str]) -> int:
    """Print the output, stdout and stderr as they came; returns the exit status."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    (entry,) = entries_of(home, [args.job], None)
    attempt = args.attempt or entry.attempt
    if not 0 <= attempt <= entry.attempt:
        raise UsageError(f"job {entry.id} has had {entry.attempt} attempts, and no {attempt}")
    if not attempt and not args.follow:
        raise UsageError(f"job {entry.id} hasn't started; it is {entry.state}")
    sys.stdout.flush()
    follower = _Follower(home, entry.id, args.attempt)
    if args.follow:
        wait_for_news(home, follower.is_over, os.path.join(home.folder, "logs"))
    follower.print_rest(attempt)
    return 0


class _Follower:
    """Prints what is new; goes on with the next attempt when there is one."""

    def __init__(self, home: QueueHome, job: int, attempt: int | None) -> None:
        os.makedirs(os.path.join(home.folder, "logs"), mode=0o700, exist_ok=True)
        self._home = home
        self._job = job
        self._only = attempt
        self._read: dict[int, int] = {}  # bytes, by attempt

    def is_over(self) -> bool:
        """Print what there is; True if there will be no more."""
        entry = self._home.store.entry(self._job)
        if entry is None:  # sgs clean --finished has removed it
            return True
        last = self._only or entry.attempt
        first = self._only or max(self._read, default=last)
        for attempt in range(first, last + 1):
            self.print_rest(attempt)
        later = self._only is not None and entry.attempt > self._only
        return later or entry.state not in OPEN_STATES

    def print_rest(self, attempt: int) -> None:
        """Print what is new of this one."""
        path = self._home.log_path(self._job, attempt)
        with suppress(FileNotFoundError), open(path, "rb") as file:
            file.seek(self._read.get(attempt, 0))
            while data := file.read(_CHUNK_BYTES):
                write_whole(1, data)
            self._read[attempt] = file.tell()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs logs",
        description="Print what a job has printed, stdout and stderr as they came.",
        epilog="examples:\n  sgs logs 3\n  sgs logs 3 -f       until it ends\n"
        "  sgs logs 3 --attempt 1",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="until the job has ended")
    parser.add_argument("--attempt", type=int, metavar="N", help="this one (default: the last)")
    parser.add_argument("job", metavar="ID")
    return parser
