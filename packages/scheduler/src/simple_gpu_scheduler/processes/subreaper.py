"""Where processes go whose parent has ended: to the nearest ancestor that asked for them.

Mostly that is pid 1, or the user's systemd. Slurm, a container's init or the queue's server may be
others: the kernel doesn't show who has asked (prctl(2), PR_SET_CHILD_SUBREAPER), so it is tried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from simple_gpu_scheduler.processes.membership import ProcessFacts
from simple_gpu_scheduler.system.proc import find_process, name

_INIT = 1

#: The last process waits until it has another parent than the one that has started it.
_TRY = (
    "(while read -r pid name state parent rest < /proc/self/stat && [ $parent = $$ ]; do :; done; "
    "echo $parent) &"
)


class Subreapers:
    """Of ours, at one moment."""

    def __init__(self, processes: Mapping[int, ProcessFacts]) -> None:
        self._processes = processes

    def may_go_to(self, pid: int) -> bool:
        """Whether that process may be given one; or has ended since, so that its child is one."""
        if pid in (_INIT, os.getpid()) or self._has_ended(pid):
            return True
        one = self._processes.get(pid)
        if one is None:
            return False
        if one.parent == _INIT and name(pid) == "systemd":  # the user's
            return True
        ancestors = self._ancestors()
        try:
            return pid in ancestors and pid == _taker(ancestors)
        except OSError:  # there is no room for one more process
            return False

    def _has_ended(self, pid: int) -> bool:
        then, now = self._processes.get(pid), find_process(pid)
        if now is None:
            return pid > 0 and not _is_there(pid)
        return now.has_ended or (then is not None and then.start_ticks != now.start_ticks)

    def _ancestors(self) -> tuple[int, ...]:
        """Ours, without the first process of all."""
        found: list[int] = []
        pid = os.getppid()
        while pid in self._processes and pid != _INIT and pid not in found:
            found.append(pid)
            pid = self._processes[pid].parent
        return tuple(found)


def _is_there(pid: int) -> bool:
    """Asked of the kernel: others' processes may be hidden from us (proc(5), hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@lru_cache(maxsize=1)
def _taker(ancestors: tuple[int, ...]) -> int:
    """Who is given the orphans of a process with these ancestors: it is asked once."""
    import subprocess  # mostly it need not be tried

    done = subprocess.run(
        ["/bin/sh", "-c", _TRY], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
    )
    return int(done.stdout) if done.stdout.strip().isdigit() else _INIT
