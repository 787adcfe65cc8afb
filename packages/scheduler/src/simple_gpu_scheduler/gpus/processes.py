"""The user, the name and the parents of processes on a GPU, from /proc (proc(5)).

The driver reports pids of the namespace of the process that asks it. A process may have ended
since, or be hidden: it is in another namespace, or /proc is mounted with hidepid. Then its user
and name are empty, and no error is raised.
"""

from __future__ import annotations

from simple_gpu_scheduler.gpus.records import GpuProcess, Lineage
from simple_gpu_scheduler.system.proc import find_process, real_uid
from simple_gpu_scheduler.system.users import user_name

#: The most parents that are read: pids may be used again meanwhile, and make the chain endless.
_MOST_ANCESTORS = 1000


def gpu_process(pid: int, memory_mib: int | None) -> GpuProcess:
    """The process with its user, name and start."""
    process = find_process(pid)
    if process is None:
        return GpuProcess(pid, memory_mib=memory_mib)
    name = process.comm.decode(errors="replace")
    return GpuProcess(pid, _user(pid), name, memory_mib, process.start_ticks)


def lineage(pid: int) -> Lineage:
    """The process, its parents up to init, and its session; no pids if it has ended."""
    first = find_process(pid)
    if first is None:
        return Lineage()
    pids, process = [pid], first
    while process.parent > 0 and len(pids) < _MOST_ANCESTORS:
        parent = find_process(process.parent)
        if parent is None:
            break
        pids.append(process.parent)
        process = parent
    return Lineage(tuple(pids), first.session, _user(pid), first.start_ticks)


def _user(pid: int) -> str:
    uid = real_uid(pid)
    return "" if uid is None else user_name(uid)
