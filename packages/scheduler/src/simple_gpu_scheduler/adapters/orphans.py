"""Where processes go whose parent has ended: to the nearest ancestor that asked for them.

Mostly that is pid 1, or the user's systemd. Slurm, a container's init or the queue's server may be
others: the kernel doesn't show who has asked (prctl(2), PR_SET_CHILD_SUBREAPER), so it is tried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from simple_gpu_scheduler.policy.belonging import Process

_INIT = 1

#: The last process waits until it has another parent than the one that has started it.
_TRY = (
    "(while read -r pid name state parent rest < /proc/self/stat && [ $parent = $$ ]; do :; done; "
    "echo $parent) &"
)


class Orphans:
    """Of ours, at one moment."""

    def __init__(self, processes: Mapping[int, Process]) -> None:
        self._processes = processes

    def may_go_to(self, pid: int) -> bool:
        """Whether that process may be given one."""
        if pid in (_INIT, os.getpid()):
            return True
        one = self._processes.get(pid)
        if one is None:
            return False
        if one.parent == _INIT and _name(pid) == "systemd":  # the user's
            return True
        ancestors = self._ancestors()
        return pid in ancestors and pid == _taker(ancestors)

    def _ancestors(self) -> tuple[int, ...]:
        """Ours, without the first process of all."""
        found: list[int] = []
        pid = os.getppid()
        while pid in self._processes and pid != _INIT and pid not in found:
            found.append(pid)
            pid = self._processes[pid].parent
        return tuple(found)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


@lru_cache(maxsize=1)
def _taker(ancestors: tuple[int, ...]) -> int:
    """Who is given the orphans of a process with these ancestors: it is asked once."""
    import subprocess  # mostly it need not be tried

    done = subprocess.run(
        ["/bin/sh", "-c", _TRY], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
    )
    return int(done.stdout) if done.stdout.strip().isdigit() else _INIT
