"""Signals the processes of a job, but no later processes that have got their numbers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from simple_gpu_scheduler.processes.tree import Member
from simple_gpu_scheduler.system.proc import find_process

#: KILL is sent again until no new process turns up that was being forked meanwhile.
_MOST_ROUNDS = 10


def signal_all(members: Callable[[], tuple[Member, ...]], number: int) -> int:
    """Signal a whole process tree; send KILL again until no new process turns up.

    Args:
        members: Returns the living processes, parents first. So in `a; b` the shell ends before a,
            and doesn't go on with b.
        number: The signal.

    Returns:
        The number of processes that were in the tree.
    """
    signalled: set[Member] = set()
    for _ in range(_MOST_ROUNDS):
        tree = members()
        for member in tree:
            with suppress(ProcessLookupError, PermissionError):
                _signal(member, number, signal.SIGCONT)  # a stopped process gets it only then
        if number != signal.SIGKILL or signalled.issuperset(tree):
            return len(signalled.union(tree))
        signalled.update(tree)
    return len(signalled)


def _signal(member: Member, *numbers: int) -> None:
    """Signal this process, but no later one that has got its number."""
    try:
        fd = os.pidfd_open(member.pid)
    except ProcessLookupError:
        return
    except OSError:  # the kernel has no pidfds, or no descriptor is left: less safe
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
    """True if the process still exists, be it a zombie, and has not been replaced by another."""
    process = find_process(member.pid)
    return process is not None and process.start_ticks == member.start_ticks


def has_group(number: int) -> bool:
    """True if a process group has processes; it may be a later group of the same number."""
    try:
        os.kill(-number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
