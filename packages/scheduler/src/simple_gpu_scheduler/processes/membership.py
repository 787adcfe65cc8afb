"""Decides which processes belong to a job, from records of all processes.

Process numbers are used again, and anybody can copy a mark. Descent can't be forged: a process
belongs to the job if it descends from the job's first process. Three facts show descent:

- Session: only a process born in a session can be in it. The session's number stays in use while
  a process is in it, or until its first process was waited for. So if that number is known to be
  the job's, all processes of the session belong, whoever owns them.
- Parent: children of a process that belongs do, too. A child is never older than its parent. If it
  is older, its parent's number was used again, and the two are not related.
- Mark: a process that has lost its parent and left the session still carries the mark. It belongs
  if it is ours, and its parent is one that takes orphans. Any other parent has started the process
  itself, so that the mark is a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol


class ProcessFacts(Protocol):
    """What is known of each process."""

    @property
    def parent(self) -> int:
        """The number of its parent."""
        ...

    @property
    def session(self) -> int:
        """The number of its session."""
        ...

    @property
    def start_ticks(self) -> int:
        """When it started, in clock ticks since boot."""
        ...


class FirstProcess(NamedTuple):
    """The first process of a job; its number is also that of the job's session.

    Times are in clock ticks since boot.
    """

    pid: int  #: 0: unknown
    start_ticks: int  #: the earliest time at which it, and so any process of the job, started
    last_ticks: int = 0  #: the latest time at which it started, if after `start_ticks`
    held_ticks: int = 0  #: until then no other process can have had its number

    def matches(self, ticks: int) -> bool:
        """True if a process of this number that started at this time is the first process."""
        return self.start_ticks <= ticks <= max(self.start_ticks, self.last_ticks)


def members(
    processes: Mapping[int, ProcessFacts],
    first: FirstProcess,
    claims: Callable[[int], bool],
    takes_orphans: Callable[[int], bool],
) -> set[int]:
    """Find the processes of a job.

    Args:
        processes: All processes, by their numbers.
        first: The first process of the job.
        claims: True if the process carries the job's mark, and is ours.
        takes_orphans: True if the process is given children whose parents have ended.

    Returns:
        The numbers of the job's processes.
    """
    candidates = {
        pid: process
        for pid, process in processes.items()
        if process.start_ticks >= first.start_ticks
    }
    session = {
        pid for pid, process in candidates.items() if first.pid and process.session == first.pid
    }
    leader = processes.get(first.pid)
    job_pids: set[int] = set()
    parents: set[int] = set()  # may have marked children, although they take no orphans
    if leader is None:
        if any(candidates[pid].start_ticks <= first.held_ticks for pid in session):
            job_pids |= session
    elif first.matches(leader.start_ticks):
        job_pids |= session | {first.pid}
        parents.add(leader.parent)
    _add_descendants(job_pids, candidates)
    for pid in sorted(candidates.keys() - job_pids):
        parent = candidates[pid].parent
        if claims(pid) and (parent in parents or takes_orphans(parent)):
            job_pids.add(pid)
    if leader is None and session & job_pids:  # one belongs, so the session is still the job's
        job_pids |= session
    _add_descendants(job_pids, candidates)
    return job_pids


def _add_descendants(job_pids: set[int], processes: Mapping[int, ProcessFacts]) -> None:
    """Add all descendants of the processes in `job_pids`."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    to_visit = list(job_pids)
    while to_visit:
        parent = to_visit.pop()
        for pid in children.get(parent, ()):
            is_child = processes[pid].start_ticks >= processes[parent].start_ticks
            if is_child and pid not in job_pids:
                job_pids.add(pid)
                to_visit.append(pid)
