"""The processes of the queue's jobs: how they are marked, found and signalled."""

from __future__ import annotations

import os
from typing import NamedTuple

from simple_gpu_scheduler.processes import tree as process_tree
from simple_gpu_scheduler.processes import tree_signals
from simple_gpu_scheduler.processes.membership import FirstProcess
from simple_gpu_scheduler.processes.records import Leftover
from simple_gpu_scheduler.processes.tree import Member
from simple_gpu_scheduler.queue.journal import JournalEntry
from simple_gpu_scheduler.queue.records import Attempt
from simple_gpu_scheduler.system import proc
from simple_gpu_scheduler.system.proc import start_ticks

#: Who has ended under this one, its exit status is nobody's.
_INIT = 1


def queue_mark(folder: str) -> str:
    """What the processes of a queue's jobs carry in their environment."""
    status = os.stat(folder)
    return f"queue-{status.st_dev:x}-{status.st_ino:x}"


def boot_id() -> str:
    """Of this start of the machine."""
    chosen = os.environ.get("SGS_BOOT_ID")  # for tests of a restart
    if chosen:
        return chosen
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def log_path(folder: str, job: int, attempt: int) -> str:
    """Where a job's output goes."""
    return os.path.join(folder, "logs", f"{job}.{attempt}.log")


def is_running(one: Attempt | JournalEntry) -> bool:
    """Whether the process that was started is still there, and is still that one.

    One that has ended counts as long as we are to see how, or its launcher is that was killed.
    """
    found = proc.find_process(one.pid) if one.pid else None
    if found is None or not _first(one).is_it(found.start_ticks):
        return False
    return not found.has_ended or found.parent != _INIT or os.getpid() == _INIT


def exactly(one: Attempt) -> Attempt:
    """With the exact time at which its process was started, if that still lives."""
    ticks = start_ticks(one.pid or 0)
    if ticks is None or not _first(one).is_it(ticks):
        return one
    return one._replace(start_ticks=ticks, last_ticks=ticks)


def _first(one: Attempt | JournalEntry, held_ticks: int = 0) -> FirstProcess:
    """Its process, which is none where it isn't known when that was started."""
    pid = one.pid if one.start_ticks else 0
    return FirstProcess(pid or 0, one.start_ticks or 0, one.last_ticks, held_ticks)


class JobTree(NamedTuple):
    """All processes of an attempt."""

    mark: str
    attempt: Attempt
    held_ticks: int = 0  #: when its first process was last seen, since boot

    def members(self) -> tuple[Member, ...]:
        """Those that live, parents first; the numbers of another start of the machine are none."""
        if self.attempt.boot != boot_id():
            return ()
        first = _first(self.attempt, self.held_ticks)
        return process_tree.members(first, self.mark.encode(), self.attempt.job)

    def signal(self, number: int) -> None:
        """Signal them."""
        tree_signals.signal_all(self.members, number)

    def leftovers(self) -> tuple[Leftover, ...]:
        """What lives of its process group; most jobs leave nothing, and that is seen at once."""
        if not self.attempt.pid or not tree_signals.has_group(self.attempt.pid):
            return ()
        return tuple(Leftover(one.pid, proc.name(one.pid)) for one in self.members())

    def first(self) -> Member | None:
        """The first of those that live."""
        found = self.members()
        return found[0] if found else None
