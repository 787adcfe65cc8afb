"""The processes of the queue's jobs: how they are marked, found and signalled."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.adapters import process_tree
from simple_gpu_scheduler.model import Leftover
from simple_gpu_scheduler.queue.journal import Note
from simple_gpu_scheduler.queue.records import Attempt

#: KILL is sent again until nobody new turns up, who was being forked meanwhile.
_MOST_ROUNDS = 10

#: Who has ended under this one, its exit status is nobody's.
_INIT = 1

#: No session has this number.
_NO_SESSION = -1


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


def is_running(one: Attempt | Note) -> bool:
    """Whether the process that was started is still there, and is still that one.

    One that has ended counts as long as we are to see how, or its launcher is that was killed.
    """
    if not one.pid:
        return False
    ticks = process_tree.start_ticks(one.pid)
    if ticks is None:
        parent = process_tree.ended_under(one.pid)
        return parent is not None and (parent != _INIT or os.getpid() == _INIT)
    return _is_it(one, ticks)


def _is_it(one: Attempt | Note, ticks: int) -> bool:
    """Whether a process that was started then is the one that we know by that number."""
    first = one.start_ticks
    return not first or first <= ticks <= max(first, one.last_ticks)


def exactly(one: Attempt) -> Attempt:
    """With the exact time at which its process was started, if that still lives."""
    ticks = process_tree.start_ticks(one.pid or 0)
    if ticks is None or not _is_it(one, ticks):
        return one
    return one._replace(start_ticks=ticks, last_ticks=ticks)


class Tree(NamedTuple):
    """All processes of an attempt."""

    mark: str
    attempt: Attempt

    def members(self) -> tuple[int, ...]:
        """Those that live, parents first."""
        return process_tree.members(self._session(), self.mark.encode(), self.attempt.job)

    def signal(self, number: int) -> None:
        """Signal them, the shell above all: else `a; b` would go on with b once a has ended."""
        met: set[int] = set()
        for _ in range(_MOST_ROUNDS):
            found = self.members()
            for member in found:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(member, number)
                    os.kill(member, signal.SIGCONT)  # one that is stopped must hear it too
            if number != signal.SIGKILL or met.issuperset(found):
                return
            met.update(found)

    def leftovers(self) -> tuple[Leftover, ...]:
        """What lives of its process group; most jobs leave nothing, and that is seen at once."""
        if not self.attempt.pid:
            return ()
        try:
            os.kill(-self.attempt.pid, 0)
        except ProcessLookupError:
            return ()
        except PermissionError:
            pass
        return tuple(Leftover(pid, process_tree.name(pid)) for pid in self.members())

    def first(self) -> int | None:
        """The first of those that live."""
        found = self.members()
        return found[0] if found else None

    def _session(self) -> int:
        """Its session, unless that number is another process's by now."""
        pid = self.attempt.pid
        if not pid:
            return _NO_SESSION
        ticks = process_tree.start_ticks(pid)
        return pid if ticks is None or _is_it(self.attempt, ticks) else _NO_SESSION
