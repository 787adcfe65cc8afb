"""`sgs logs`: print the output of a job of the queue."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import find_jobs, wait_for_changes
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import OPEN_STATES
from simple_gpu_scheduler.system.fds import write_whole

_CHUNK_BYTES = 1 << 16


def main(argv: Sequence[str]) -> int:
    """Print the output of a job, stdout and stderr in one; returns the exit status."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    (job,) = find_jobs(home, [args.job], None)
    attempt = args.attempt or job.attempt
    if not 0 <= attempt <= job.attempt:
        attempts = f"{job.attempt} attempt{'' if job.attempt == 1 else 's'}"
        raise UsageError(f"job {job.id} has had {attempts}; there is no attempt {attempt}")
    if not attempt and not args.follow:
        raise UsageError(f"job {job.id} has not started; it is {job.state}")
    sys.stdout.flush()
    follower = _Follower(home, job.id, args.attempt)
    if args.follow:
        wait_for_changes(home, follower.is_over, os.path.join(home.folder, "logs"))
    follower.print_rest(attempt)
    return 0


class _Follower:
    """Prints the new part of a job's output, and then that of its next attempt."""

    def __init__(self, home: QueueHome, job: int, attempt: int | None) -> None:
        os.makedirs(os.path.join(home.folder, "logs"), mode=0o700, exist_ok=True)
        self._home = home
        self._job = job
        self._attempt = attempt  # None: all of them
        self._printed: dict[int, int] = {}  # bytes, by attempt

    def is_over(self) -> bool:
        """Print the new output; return whether there will be no more."""
        job = self._home.store.entry(self._job)
        if job is None:  # sgs clean --finished has removed it
            return True
        last = self._attempt or job.attempt
        first = self._attempt or max(self._printed, default=last)
        for attempt in range(first, last + 1):
            self.print_rest(attempt)
        has_later = self._attempt is not None and job.attempt > self._attempt
        return has_later or job.state not in OPEN_STATES

    def print_rest(self, attempt: int) -> None:
        """Print the new output of an attempt."""
        path = self._home.log_path(self._job, attempt)
        with suppress(FileNotFoundError), open(path, "rb") as file:
            file.seek(self._printed.get(attempt, 0))
            while data := file.read(_CHUNK_BYTES):
                write_whole(1, data)
            self._printed[attempt] = file.tell()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs logs",
        description="Print the output of a job of the queue: stdout and stderr, in the order of "
        "their arrival.",
        epilog="examples:\n  sgs logs 3\n  sgs logs 3 -f            until the job ends\n"
        "  sgs logs 3 --attempt 1",
    )
    parser.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="keep printing new output until the job ends (default: print what there is)",
    )
    parser.add_argument(
        "--attempt",
        type=int,
        metavar="N",
        help="print the output of attempt N, counted from 1 (default: the last attempt)",
    )
    parser.add_argument("job", metavar="ID", help="number of the job")
    return parser
