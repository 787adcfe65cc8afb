"""Who the processes on a GPU are, from /proc (proc(5)).

The driver gives pids of the namespace it was asked in. A process may be gone by the time we look,
or be hidden from us (another pid namespace, or /proc mounted with hidepid): then its user and name
are empty, and nothing is raised.
"""

from __future__ import annotations

from simple_gpu_scheduler.gpus.records import GpuProcess, Lineage
from simple_gpu_scheduler.system.proc import find_process, real_uid
from simple_gpu_scheduler.system.users import user_name

#: A chain of parents is never longer than this, whatever happens while we read it.
_MOST_ANCESTORS = 1000


def gpu_process(pid: int, memory_mib: int | None) -> GpuProcess:
    """The process with its user, name and start."""
    found = find_process(pid)
    if found is None:
        return GpuProcess(pid, memory_mib=memory_mib)
    name = found.comm.decode(errors="replace")
    return GpuProcess(pid, _user(pid), name, memory_mib, found.start_ticks)


def lineage(pid: int) -> Lineage:
    """The process, its parents up to init, and its session; no pids at all if it is gone."""
    first = find_process(pid)
    if first is None:
        return Lineage()
    pids, one = [pid], first
    while one.parent > 0 and len(pids) < _MOST_ANCESTORS:
        parent = find_process(one.parent)
        if parent is None:
            break
        pids.append(one.parent)
        one = parent
    return Lineage(tuple(pids), first.session, _user(pid), first.start_ticks)


def _user(pid: int) -> str:
    uid = real_uid(pid)
    return "" if uid is None else user_name(uid)
