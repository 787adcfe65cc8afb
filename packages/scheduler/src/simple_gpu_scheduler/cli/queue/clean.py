"""`sgs clean`: remove files of jobs that have ended, or the jobs themselves."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Collection, Sequence

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import add_job_arguments, find_jobs
from simple_gpu_scheduler.errors import PassingError, SgsError, UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import ENDED_STATES, SUCCEEDED, QueuedJob
from simple_gpu_scheduler.queue.store import cleaning
from simple_gpu_scheduler.queue.worktrees.cleaning import (
    copies,
    copy_of,
    remove_copy,
    remove_snapshots,
)
from simple_gpu_scheduler.queue.worktrees.scripts import remove_scripts
from simple_gpu_scheduler.queue.worktrees.usage_lock import in_use
from simple_gpu_scheduler.system.failpoints import step
from simple_gpu_scheduler.system.fds import print_lines, print_stderr
from simple_gpu_scheduler.units.durations import parse_duration_s
from simple_gpu_scheduler.units.sizes import format_memory

_DESCRIPTION = """\
Remove files of jobs that have ended.

Without --finished, it removes what `sgs submit --freeze` has kept: the copies in which the jobs
ran, with all that they wrote there, and the snapshots that no other job needs. The numbers, states
and output of the jobs stay. A job that was cleaned can't be retried.

With --finished, it removes the jobs themselves: command, environment (with its tokens), script,
output, copy and snapshot. What another job needs stays. Nothing of a removed job stays in the
queue's file:
- It can't be retried, and status, report and explain don't know it any more.
- Its number is never used again.
- A job that is submitted with its --key runs again.
Without IDs and --group, --finished removes all jobs that have ended."""

_EPILOG = """\
After --finished, the queue's file is rewritten, which takes about a second for 100 MB. Meanwhile
nobody else can write to the queue. Running jobs continue.

exit status: 0, or 1 if there was nothing to do.

examples:
  sgs clean 3-7
  sgs clean --group lr
  sgs clean --all
  sgs clean --finished --older-than 30d
  sgs clean --finished 3-7"""

_LARGE_MIB = 256  #: rewriting such a file takes a while, so the user is told

#: How many of each kind were removed, in the order in which they are printed.
_Removed = dict[str, int]
_PLURALS = {"copy": "copies"}


def main(argv: Sequence[str]) -> int:
    """Clean up; returns the exit status."""
    args = _parser().parse_args(argv)
    age_s = 0.0 if args.older_than is None else parse_duration_s(args.older_than, "--older-than")
    ended_by_s = time.time() - age_s if age_s else math.inf
    home = QueueHome()
    was_interrupted = cleaning.is_unfinished(home.store.file)  # a clean before this was killed
    if args.finished:
        home, removed = _remove_jobs_or_logs_first(home, args, ended_by_s)
    else:
        if was_interrupted:
            _sweep(home)
        removed = _remove_copies(home, args, ended_by_s)
    if args.json:
        print_lines(json.dumps({_plural(name): count for name, count in removed.items()}))
    else:
        counts = (
            f"{count} {name if count == 1 else _plural(name)}" for name, count in removed.items()
        )
        print_lines(f"removed: {', '.join(counts)}")
    if args.finished or was_interrupted:
        _scrub(home)
    return 0 if any(removed.values()) else 1


def _plural(name: str) -> str:
    return _PLURALS.get(name, f"{name}s")


def _remove_copies(home: QueueHome, args: argparse.Namespace, ended_by_s: float) -> _Removed:
    with in_use(home.folder, alone=True):
        jobs = _named_or_all(home, args)
        ended = [
            job.id for job in jobs if job.snapshot and job.state in ENDED_STATES
            and (job.ended_s or 0.0) <= ended_by_s
        ]  # fmt: skip
        copied = sum(remove_copy(home.folder, job) for job in ended)
        snapshots = remove_snapshots(home.folder, _needed_snapshots(home, ended))
    _report_open_jobs(jobs)
    return {"copy": copied, "snapshot": snapshots}


def _remove_jobs_or_logs_first(
    home: QueueHome, args: argparse.Namespace, ended_by_s: float
) -> tuple[QueueHome, _Removed]:
    """Remove jobs. That needs room in the file: on a full disk their logs are removed first."""
    try:
        return home, _remove_jobs(home, args, ended_by_s)
    except PassingError as error:
        jobs = cleaning.over(home.store.file, _named_ids(home, args), ended_by_s)
        freed = cleaning.remove_logs(home.folder, jobs)
        if not freed:
            raise
        try:
            home = QueueHome()
            removed = _remove_jobs(home, args, ended_by_s)
        except PassingError:
            raise SgsError(
                f"the logs of the jobs are removed (logs: {freed}), but the jobs themselves are "
                f"not: {error}; free some more room, and run sgs clean --finished again"
            ) from None
        return home, {**removed, "log": removed["log"] + freed}


def _remove_jobs(home: QueueHome, args: argparse.Namespace, ended_by_s: float) -> _Removed:
    file = home.store.file
    jobs = _named_ids(home, args)
    removed = cleaning.remove_jobs(file, jobs, ended_by_s)
    if jobs is not None:
        _report_open_jobs(home.store.entries(jobs=jobs))
    if waiting := cleaning.unnotified(file, jobs):
        _say(f"left alone: {waiting} whose --notify command is yet to run")
    return {"job": len(removed), **_sweep(home)}


def _named_ids(home: QueueHome, args: argparse.Namespace) -> list[int] | None:
    if not args.jobs and args.group is None:
        return None
    return [job.id for job in find_jobs(home, args.jobs, args.group)]


def _sweep(home: QueueHome) -> _Removed:
    """Remove the files of removed jobs: logs first, because that needs no room on the disk."""
    file, folder = home.store.file, home.folder
    gone = cleaning.removed_of(file, cleaning.with_logs(folder))
    logs = cleaning.remove_logs(folder, gone)
    environments = cleaning.remove_environments(file)
    with in_use(folder, alone=True):
        gone = cleaning.removed_of(file, copies(folder))
        removed = {
            "log": logs,
            "script": remove_scripts(folder, cleaning.needed_scripts(file)),
            "environment": environments,
            "copy": sum(remove_copy(folder, job) for job in gone),
            "snapshot": remove_snapshots(folder, _needed_snapshots(home, ())),
        }
        cleaning.empty_notify_log(file, folder)
    step("swept")
    return removed


def _scrub(home: QueueHome) -> None:
    """Rewrite the queue's file, so that no traces of removed jobs stay in it."""
    file = home.store.file
    size_mib = os.stat(file.path).st_size >> 20
    if size_mib >= _LARGE_MIB:
        _say(f"rewriting the queue's file ({format_memory(size_mib)}); sgs submit waits meanwhile")
    cleaning.scrub(file)


def _named_or_all(home: QueueHome, args: argparse.Namespace) -> list[QueuedJob]:
    if not args.all:
        return find_jobs(home, args.jobs, args.group)
    if args.jobs or args.group is not None:
        raise UsageError("expected one of IDs, --group or --all; --all stands beside another")
    return home.store.entries(states=ENDED_STATES)


def _needed_snapshots(home: QueueHome, cleaned: Collection[int]) -> set[str]:
    """Return the snapshots of jobs that may still start, and of jobs that have a copy."""
    cleaned = set(cleaned)
    return {
        snapshot
        for job, state, snapshot in cleaning.frozen(home.store.file)
        if job not in cleaned and (state != SUCCEEDED or copy_of(home.folder, job) is not None)
    }


def _report_open_jobs(jobs: Sequence[QueuedJob]) -> None:
    count = sum(1 for job in jobs if job.state not in ENDED_STATES)
    if count:
        _say(f"left alone: {count} not ended")


def _say(text: str) -> None:
    print_stderr(f"sgs clean: {text}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sgs clean", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add(
        "--finished",
        action="store_true",
        help="remove the jobs themselves, with all of their files (default: only their copies and "
        "snapshots)",
    )
    add(
        "--all",
        action="store_true",
        help="apply to all ended jobs instead of IDs",
    )
    add(
        "--older-than",
        metavar="DURATION",
        help="clean only jobs that ended at least this long ago: 30d, 12h (default: all)",
    )
    add(
        "--json",
        action="store_true",
        help="print an object with the number of removed files of each kind",
    )
    add_job_arguments(parser)
    return parser
