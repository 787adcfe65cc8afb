"""Signal the processes of a job, and no others that have their numbers by now."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from simple_gpu_scheduler.processes.tree import Member
from simple_gpu_scheduler.system.proc import find_process

#: KILL is sent again until nobody new turns up, who was being forked meanwhile.
_MOST_ROUNDS = 10


def signal_all(members: Callable[[], tuple[Member, ...]], number: int) -> int:
    """Signal a whole tree; KILL again until nobody new turns up. Returns how many it met.

    Args:
        members: says who is there, parents first, the shell above all: else `a; b` would go on
            with b once a has ended.
    """
    met: set[Member] = set()
    for _ in range(_MOST_ROUNDS):
        found = members()
        for member in found:
            with suppress(ProcessLookupError, PermissionError):
                _signal(member, number, signal.SIGCONT)  # one that is stopped must hear it too
        if number != signal.SIGKILL or met.issuperset(found):
            return len(met.union(found))
        met.update(found)
    return len(met)


def _signal(member: Member, *numbers: int) -> None:
    """Signal this process, and no other that has its number by now."""
    try:
        fd = os.pidfd_open(member.pid)
    except ProcessLookupError:
        return
    except OSError:  # the kernel has no such thing, or we no descriptor: the next best
        for number in numbers:
            if is_still(member):
                os.kill(member.pid, number)
        return
    try:
        if is_still(member):
            for number in numbers:
                signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)


def is_still(member: Member) -> bool:
    """Whether the process is there, running or not waited for, and the number is still its own."""
    one = find_process(member.pid)
    return one is not None and one.start_ticks == member.start_ticks


def has_group(number: int) -> bool:
    """Whether there are processes in a process group; by now it may be another's."""
    try:
        os.kill(-number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
