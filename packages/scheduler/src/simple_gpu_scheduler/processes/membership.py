"""Which processes belong to a job: told from records of all processes.

Numbers are used again, and anybody can copy a mark. What can't be forged is descent: a process
belongs if it descends from the job's first process. Three things show that:

- A session is entered only by being born in it, and its number isn't free as long as one process
  is in it or its first process isn't waited for. So all of the job's session belongs, whoever owns
  it, if that number is known to be the job's.
- Children of who belongs do. A child is never older than its parent: one that is has another
  process for its parent, whose number was used again.
- Who has lost its parent and left the session still carries the mark. It belongs if it is ours,
  and its parent is one that takes in orphans: a parent of another kind has started it itself, so
  that the mark was copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol


class ProcessFacts(Protocol):
    """What is known of each process."""

    @property
    def parent(self) -> int:
        """Its parent's number."""
        ...

    @property
    def session(self) -> int:
        """Its session's number."""
        ...

    @property
    def start_ticks(self) -> int:
        """When it started, since boot."""
        ...


class FirstProcess(NamedTuple):
    """The process that a job began with; its number is that of the job's session."""

    pid: int  #: 0: unknown
    start_ticks: int  #: it started no earlier, since boot; nothing of the job did
    last_ticks: int = 0  #: nor later than this or `start_ticks`
    held_ticks: int = 0  #: up to then the number was surely its own

    def is_it(self, ticks: int) -> bool:
        """Whether a process of this number that started then is this one."""
        return self.start_ticks <= ticks <= max(self.start_ticks, self.last_ticks)


def members(
    processes: Mapping[int, ProcessFacts],
    first: FirstProcess,
    claims: Callable[[int], bool],
    takes_orphans: Callable[[int], bool],
) -> set[int]:
    """Numbers of the job's processes.

    Args:
        claims: whether the process carries the job's mark, and is ours.
        takes_orphans: whether the process is given children whose parents have ended.
    """
    young = {pid: one for pid, one in processes.items() if one.start_ticks >= first.start_ticks}
    head = processes.get(first.pid)
    session = {pid for pid, one in young.items() if first.pid and one.session == first.pid}
    found: set[int] = set()
    parents: set[int] = set()  # beside those that take orphans
    if head is None:
        if any(young[pid].start_ticks <= first.held_ticks for pid in session):
            found |= session
    elif first.is_it(head.start_ticks):
        found |= session | {first.pid}
        parents.add(head.parent)
    _add_descendants(found, young)
    for pid in sorted(young.keys() - found):
        if claims(pid) and (young[pid].parent in parents or takes_orphans(young[pid].parent)):
            found.add(pid)
    if head is None and session & found:  # one of them belongs, so the number is still the job's
        found |= session
    _add_descendants(found, young)
    return found


def _add_descendants(found: set[int], processes: Mapping[int, ProcessFacts]) -> None:
    """Also of those that were found on the way."""
    children: dict[int, list[int]] = {}
    for pid, one in processes.items():
        children.setdefault(one.parent, []).append(pid)
    to_do = list(found)
    while to_do:
        parent = to_do.pop()
        for pid in children.get(parent, ()):
            if pid not in found and processes[pid].start_ticks >= processes[parent].start_ticks:
                found.add(pid)
                to_do.append(pid)
