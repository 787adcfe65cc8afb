"""`sgs wait`: wait until jobs of the queue have ended."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import (
    add_job_arguments,
    describe_state,
    find_jobs,
    wait_for_changes,
)
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import numbers
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    LOST,
    OPEN_STATES,
    SUCCEEDED,
    QueuedJob,
)
from simple_gpu_scheduler.system.fds import print_stderr

_EPILOG = """\
exit status:
  of one job    its exit status; 128+n if signal n ended it; 1 if it was cancelled or lost
  of several    0 if all succeeded, otherwise 1

examples:
  sgs wait 3 && sgs submit -- python evaluate.py
  sgs wait --group lr"""


#: What stands before these states in a sentence.
_VERBS = {CANCELLED: "was ", LOST: "was "}


def main(argv: Sequence[str]) -> int:
    """Wait; returns the exit status of the job, or of all jobs together.

    Raises:
        UsageError: there is no such job.
        SgsError: a job was removed meanwhile, so its exit status is unknown.
    """
    args = _parser().parse_args(argv)
    home = QueueHome()
    ids = [job.id for job in find_jobs(home, args.jobs, args.group)]

    def is_over() -> bool:
        return not home.store.entries(jobs=ids, states=OPEN_STATES, most=1)

    if not is_over():
        _start_server_or_say_why_not(home)
    wait_for_changes(home, is_over)
    jobs = home.store.entries(jobs=ids)
    for job in jobs:
        if job.state != SUCCEEDED:
            print_stderr(
                f"sgs wait: job {job.id} {_VERBS.get(job.state, '')}{describe_state(job)}"
            )
    if removed := set(ids) - {job.id for job in jobs}:
        raise SgsError(
            f"the exit status of job {numbers(list(removed))} is unknown: sgs clean --finished "
            "has removed it"
        )
    if len(jobs) == 1:
        return _exit_status(jobs[0])
    return int(any(job.state != SUCCEEDED for job in jobs))


def _start_server_or_say_why_not(home: QueueHome) -> None:
    """Start a server if there is none. Say why no job starts, if there is a reason."""
    reason = "the queue is drained: it starts nothing before sgs server resume"
    try:
        home.start_server()
    except SgsError as error:
        reason = f"{error}; waiting until a server can start (sgs server start)"
    else:
        if not home.store.setting("drained"):
            return
    print_stderr(f"sgs wait: {reason}")


def _exit_status(job: QueuedJob) -> int:
    if job.signal is not None:
        return 128 + job.signal
    return 1 if job.exit_code is None else job.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs wait",
        description="Wait until jobs of the queue have ended.",
        epilog=_EPILOG,
    )
    add_job_arguments(parser)
    return parser
