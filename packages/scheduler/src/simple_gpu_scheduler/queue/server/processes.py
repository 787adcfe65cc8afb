"""The processes of the queue's jobs: how they are marked, found, signalled and reaped."""

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

#: The exit status of a zombie whose parent is this process is lost.
_INIT = 1


def queue_mark(folder: str) -> str:
    """Return the mark that the processes of a queue's jobs have in their environment."""
    status = os.stat(folder)
    return f"queue-{status.st_dev:x}-{status.st_ino:x}"


def boot_id() -> str:
    """Return the id of this start of the machine."""
    test_id = os.environ.get("SGS_BOOT_ID")  # for tests of a restart
    if test_id:
        return test_id
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def log_path(folder: str, job: int, attempt: int) -> str:
    """Return the path of an attempt's log."""
    return os.path.join(folder, "logs", f"{job}.{attempt}.log")


def is_running(process: Attempt | JournalEntry) -> bool:
    """True if the first process of an attempt still exists.

    A zombie counts as long as its parent, the launcher or this server, can read its exit status.
    """
    status = proc.find_process(process.pid) if process.pid else None
    if status is None or not _first(process).matches(status.start_ticks):
        return False
    return not status.has_ended or status.parent != _INIT or os.getpid() == _INIT


def with_exact_start(attempt: Attempt) -> Attempt:
    """Return the attempt with the exact start time of its process, if that still lives."""
    ticks = start_ticks(attempt.pid or 0)
    if ticks is None or not _first(attempt).matches(ticks):
        return attempt
    return attempt._replace(start_ticks=ticks, last_ticks=ticks)


def _first(process: Attempt | JournalEntry, held_ticks: int = 0) -> FirstProcess:
    """Return the first process of an attempt; none if its start time isn't known."""
    pid = process.pid if process.start_ticks else 0
    return FirstProcess(pid or 0, process.start_ticks or 0, process.last_ticks, held_ticks)


class JobTree(NamedTuple):
    """All processes of an attempt."""

    mark: str
    attempt: Attempt
    held_ticks: int = 0  #: since boot: the first process was last seen at this time

    def members(self) -> tuple[Member, ...]:
        """Return the living processes, parents first. None survives a restart of the machine."""
        if self.attempt.boot != boot_id():
            return ()
        first = _first(self.attempt, self.held_ticks)
        return process_tree.members(first, self.mark.encode(), self.attempt.job)

    def signal(self, number: int) -> None:
        """Send a signal to all processes."""
        tree_signals.signal_all(self.members, number)

    def leftovers(self) -> tuple[Leftover, ...]:
        """Return the living processes of an attempt that has ended.

        Most jobs leave nothing behind, so the process group is checked first: that is cheap.
        """
        if not self.attempt.pid or not tree_signals.has_group(self.attempt.pid):
            return ()
        return tuple(Leftover(member.pid, proc.name(member.pid)) for member in self.members())

    def first(self) -> Member | None:
        """Return the first living process; None if none lives."""
        members = self.members()
        return members[0] if members else None


def ended_child() -> int | None:
    """Return a child that has ended, without reaping it; None if there is none."""
    try:
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if info is None else info.si_pid


def reap(pid: int) -> int:
    """Reap an ended child; returns its exit code, or the negative number of a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
