"""`sgs clean`: remove what was kept for jobs that have ended, once it isn't needed."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Collection, Sequence

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queue.jobs import entries_of
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

_EPILOG = """\
Without --finished, what `sgs submit --freeze` keeps is removed for jobs that have ended: the
copies that they ran in, with all that they wrote there, and snapshots that no other job needs.
Their numbers, states and output stay. A job that was cleaned up can't be retried.

With --finished, jobs that have ended are removed as a whole: command, environment (with the tokens
that are in it), script, output, copy and snapshot, so far as no other job needs them. Nothing of
them stays in the queue's file. They can't be retried, and status, report and explain don't know
them any more; their numbers are never used again. A job that is submitted with the --key of one
runs again. Without IDs or --group that is all jobs that have ended. Nobody else can write to the
queue while its file is written anew, about a second for 100 MB; jobs run on.

examples:
  sgs clean 3-7
  sgs clean --group lr
  sgs clean --all
  sgs clean --finished --older-than 30d
  sgs clean --finished 3-7

exit status: 0, or 1 if there was nothing to do."""

#: So large a file takes a while to be written anew.
_LARGE_MIB = 256

#: How many of each were removed, in the order in which that is told.
_Found = dict[str, int]
_PLURALS = {"copy": "copies"}


def main(argv: Sequence[str]) -> int:
    """Clean up; returns the exit status."""
    args = _parser().parse_args(argv)
    age_s = 0.0 if args.older_than is None else parse_duration_s(args.older_than, "--older-than")
    ended_by_s = time.time() - age_s if age_s else math.inf
    home = QueueHome()
    unfinished = cleaning.is_unfinished(home.store.file)  # somebody was killed over it
    if args.finished:
        home, found = _remove_jobs_somehow(home, args, ended_by_s)
    else:
        if unfinished:
            _sweep(home)
        found = _remove_copies(home, args, ended_by_s)
    if args.json:
        print_lines(json.dumps({_plural(name): count for name, count in found.items()}))
    else:
        told = (
            f"{count} {name if count == 1 else _plural(name)}" for name, count in found.items()
        )
        print_lines(f"removed: {', '.join(told)}")
    if args.finished or unfinished:
        _scrub(home)
    return 0 if any(found.values()) else 1


def _plural(name: str) -> str:
    return _PLURALS.get(name, f"{name}s")


def _remove_copies(home: QueueHome, args: argparse.Namespace, ended_by_s: float) -> _Found:
    with in_use(home.folder, alone=True):
        meant = _meant(home, args)
        ended = [
            one.id for one in meant if one.snapshot and one.state in ENDED_STATES
            and (one.ended_s or 0.0) <= ended_by_s
        ]  # fmt: skip
        copied = sum(remove_copy(home.folder, job) for job in ended)
        snapshots = remove_snapshots(home.folder, _needed(home, ended))
    _tell_of_open(meant)
    return {"copy": copied, "snapshot": snapshots}


def _remove_jobs_somehow(
    home: QueueHome, args: argparse.Namespace, ended_by_s: float
) -> tuple[QueueHome, _Found]:
    """Remove jobs. That takes room: on a full disk what they have printed goes first."""
    try:
        return home, _remove_jobs(home, args, ended_by_s)
    except PassingError as error:
        jobs = cleaning.over(home.store.file, _meant_jobs(home, args), ended_by_s)
        freed = cleaning.remove_logs(home.folder, jobs)
        if not freed:
            raise
        try:
            home = QueueHome()
            found = _remove_jobs(home, args, ended_by_s)
        except PassingError:
            raise SgsError(
                f"what the jobs have printed is removed (logs: {freed}), but they themselves are "
                f"not: {error}; free some more room, and run sgs clean --finished again"
            ) from None
        return home, {**found, "log": found["log"] + freed}


def _remove_jobs(home: QueueHome, args: argparse.Namespace, ended_by_s: float) -> _Found:
    file = home.store.file
    jobs = _meant_jobs(home, args)
    removed = cleaning.remove_jobs(file, jobs, ended_by_s)
    if jobs is not None:
        _tell_of_open(home.store.entries(jobs=jobs))
    if untold := cleaning.unnotified(file, jobs):
        _say(f"left alone: {untold} whose --notify command is yet to run")
    return {"job": len(removed), **_sweep(home)}


def _meant_jobs(home: QueueHome, args: argparse.Namespace) -> list[int] | None:
    if not args.jobs and args.group is None:
        return None
    return [one.id for one in entries_of(home, args.jobs, args.group)]


def _sweep(home: QueueHome) -> _Found:
    """Remove what was kept for removed jobs; logs first, as that takes no room at all."""
    file, folder = home.store.file, home.folder
    gone = cleaning.removed_of(file, cleaning.with_logs(folder))
    logs = cleaning.remove_logs(folder, gone)
    environments = cleaning.remove_environments(file)
    with in_use(folder, alone=True):
        gone = cleaning.removed_of(file, copies(folder))
        found = {
            "log": logs,
            "script": remove_scripts(folder, cleaning.needed_scripts(file)),
            "environment": environments,
            "copy": sum(remove_copy(folder, job) for job in gone),
            "snapshot": remove_snapshots(folder, _needed(home, ())),
        }
        cleaning.empty_notify_log(file, folder)
    step("swept")
    return found


def _scrub(home: QueueHome) -> None:
    """Have no traces of removed jobs in the queue's file."""
    file = home.store.file
    size_mib = os.stat(file.path).st_size >> 20
    if size_mib >= _LARGE_MIB:
        _say(
            f"writing the queue's file anew ({format_memory(size_mib)}); submitting waits for that"
        )
    cleaning.scrub(file)


def _meant(home: QueueHome, args: argparse.Namespace) -> list[QueuedJob]:
    if not args.all:
        return entries_of(home, args.jobs, args.group)
    if args.jobs or args.group is not None:
        raise UsageError("--all are all jobs; name them, or a group, or --all")
    return home.store.entries(states=ENDED_STATES)


def _needed(home: QueueHome, cleaned: Collection[int]) -> set[str]:
    """Snapshots of jobs that may yet start, and of those whose copies are there."""
    cleaned = set(cleaned)
    return {
        snapshot
        for job, state, snapshot in cleaning.frozen(home.store.file)
        if job not in cleaned and (state != SUCCEEDED or copy_of(home.folder, job) is not None)
    }


def _tell_of_open(meant: Sequence[QueuedJob]) -> None:
    going_on = sum(1 for one in meant if one.state not in ENDED_STATES)
    if going_on:
        _say(f"left alone: {going_on} not ended")


def _say(text: str) -> None:
    print_stderr(f"sgs clean: {text}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs clean",
        allow_abbrev=False,
        description="Remove what was kept for jobs that have ended.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--finished", action="store_true",
        help="remove the jobs themselves, with all that was kept for them alone")  # fmt: skip
    add("--group", metavar="G", help="of all jobs of this group")
    add("--all", action="store_true", help="of all jobs that have ended")
    add("--older-than", metavar="DURATION",
        help="only of jobs that ended so long ago, such as 30d or 12h")  # fmt: skip
    add("--json", action="store_true", help="print how many of each were removed as JSON")
    add("jobs", nargs="*", metavar="ID")
    return parser
