"""Finds out which process takes orphans: processes whose parent has ended.

The kernel gives an orphan to its nearest ancestor that is a subreaper (prctl(2),
PR_SET_CHILD_SUBREAPER). Mostly that is pid 1 or the user's systemd, but it may be Slurm, the init
of a container or the queue's server. The kernel doesn't show who is one, so an orphan is made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from simple_gpu_scheduler.processes.membership import ProcessFacts
from simple_gpu_scheduler.system import proc

_INIT = 1

#: A shell script: its background process waits until it has a new parent, and prints its pid.
_MAKE_ORPHAN = (
    "(while read -r pid name state parent rest < /proc/self/stat && [ $parent = $$ ]; do :; done; "
    "echo $parent) &"
)


class Subreapers:
    """The processes that take orphans of this program's jobs, at one moment."""

    def __init__(self, processes: Mapping[int, ProcessFacts]) -> None:
        """`processes` are all processes, by their numbers."""
        self._processes = processes

    def may_go_to(self, pid: int) -> bool:
        """True if the process takes orphans, or has ended since: then its children are orphans."""
        if pid in (_INIT, os.getpid()) or self._has_ended(pid):
            return True
        process = self._processes.get(pid)
        if process is None:
            return False
        if process.parent == _INIT and proc.name(pid) == "systemd":  # the user's
            return True
        ancestors = self._ancestors()
        try:
            return pid in ancestors and pid == _find_subreaper(ancestors)
        except OSError:  # no more process can be started
            return False

    def _has_ended(self, pid: int) -> bool:
        before, now = self._processes.get(pid), proc.find_process(pid)
        if now is None:
            return pid > 0 and not _exists(pid)
        return now.has_ended or (before is not None and before.start_ticks != now.start_ticks)

    def _ancestors(self) -> tuple[int, ...]:
        """The ancestors of this process, the nearest first, without pid 1."""
        ancestors: list[int] = []
        pid = os.getppid()
        while pid in self._processes and pid != _INIT and pid not in ancestors:
            ancestors.append(pid)
            pid = self._processes[pid].parent
        return tuple(ancestors)


def _exists(pid: int) -> bool:
    """True if the process exists, even if /proc hides it (proc(5), hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@lru_cache(maxsize=1)
def _find_subreaper(ancestors: tuple[int, ...]) -> int:
    """Make an orphan and return its new parent; once for the same ancestors of this process."""
    import subprocess  # slow, and rarely needed

    done = subprocess.run(
        ["/bin/sh", "-c", _MAKE_ORPHAN],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    return int(done.stdout) if done.stdout.strip().isdigit() else _INIT
