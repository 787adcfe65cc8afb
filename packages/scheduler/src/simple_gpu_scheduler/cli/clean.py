"""`sgs clean`: remove the copies of work trees that jobs ran in, once they aren't needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence

from simple_gpu_scheduler.adapters.queue_home import QueueHome
from simple_gpu_scheduler.adapters.snapshot_cleaning import (
    copy_of,
    remove_copy,
    remove_snapshots,
)
from simple_gpu_scheduler.adapters.snapshot_copy import in_use
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queued_jobs import entries_of
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.records import ENDED_STATES, SUCCEEDED, Entry

_EPILOG = """\
What `sgs submit --freeze` keeps is removed for jobs that have ended: the copies that they ran in,
with all that they wrote there, and snapshots that no other job needs. Their numbers, states and
output stay. A job that was cleaned up can't be retried.

examples:
  sgs clean 3-7
  sgs clean --group lr
  sgs clean --all

exit status: 0, or 1 if there was nothing to do."""


def main(argv: Sequence[str]) -> int:
    """Clean up; returns the exit status."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    with in_use(home.folder, alone=True):
        meant = _meant(home, args)
        ended = [one.id for one in meant if one.state in ENDED_STATES and one.snapshot]
        copies = [job for job in ended if remove_copy(home.folder, job)]
        snapshots = remove_snapshots(home.folder, _needed(home, ended))
    going_on = sum(1 for one in meant if one.state not in ENDED_STATES)
    if going_on:
        print(f"sgs clean: left alone: {going_on} not ended", file=sys.stderr)
    print(f"removed: {len(copies)} copies, {snapshots} snapshots")
    return 0 if copies or snapshots else 1


def _meant(home: QueueHome, args: argparse.Namespace) -> list[Entry]:
    if not args.all:
        return entries_of(home, args.jobs, args.group)
    if args.jobs or args.group is not None:
        raise UsageError("--all are all jobs; name them, or a group, or --all")
    return home.store.entries(states=ENDED_STATES)


def _needed(home: QueueHome, ended: Collection[int]) -> set[str]:
    """Snapshots of jobs that may yet start, and of those whose copies are there."""
    cleaned = set(ended)
    return {
        one.snapshot
        for one in home.store.entries()
        if one.snapshot
        and one.id not in cleaned
        and (one.state != SUCCEEDED or copy_of(home.folder, one.id) is not None)
    }


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs clean",
        allow_abbrev=False,
        description="Remove the copies of work trees that jobs ran in.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--group", metavar="G", help="of all jobs of this group")
    parser.add_argument("--all", action="store_true", help="of all jobs that have ended")
    parser.add_argument("jobs", nargs="*", metavar="ID")
    return parser
