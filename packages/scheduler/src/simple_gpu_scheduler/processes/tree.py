"""Finds every process of a job, also those that left its session.

`membership` decides which processes belong to the job; this module reads /proc (proc(5)) for it.
The processes of a job carry its mark in their environment: `SGS_RUN` and `SGS_SEQ`, which children
inherit.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.processes import membership
from simple_gpu_scheduler.processes.membership import FirstProcess
from simple_gpu_scheduler.processes.subreaper import Subreapers
from simple_gpu_scheduler.system.proc import (
    PF_KTHREAD,
    Process,
    all_processes,
    is_ours,
    read_process,
)

#: Environment variables that every job carries.
RUN_VARIABLE = b"SGS_RUN"
SEQ_VARIABLE = b"SGS_SEQ"

#: A process within execve(2) has no environment: then reading it is tried again.
_MOST_READS, _BETWEEN_READS_S = 100, 0.001

#: The largest environment that execve(2) takes (6 MiB, whatever the limit of the stack).
_MOST_BYTES = 6 << 20
_SEQ = re.compile(rb"\0SGS_SEQ=(\d{1,18})\0")


class Member(NamedTuple):
    """A process. The start time tells it from a later process of the same number."""

    pid: int
    start_ticks: int  #: in clock ticks since boot


def members(first: FirstProcess, run_id: bytes, seq: int) -> tuple[Member, ...]:
    """Return the living processes of a job, parents first; zombies don't count.

    Args:
        first: The first process of the job.
        run_id: The mark of the run.
        seq: The number of the job in the run.
    """
    processes = all_processes()
    marks = (RUN_VARIABLE + b"=" + run_id, SEQ_VARIABLE + b"=%d" % seq)
    pids = membership.members(
        processes,
        first,
        lambda pid: _carries(pid, processes[pid], *marks) and is_ours(pid),
        Subreapers(processes).may_go_to,
    )
    pids.discard(os.getpid())
    living = [pid for pid in pids if not processes[pid].has_ended]
    living.sort(key=lambda pid: (pid != first.pid, _depth(pid, processes), pid))
    return tuple(Member(pid, processes[pid].start_ticks) for pid in living)


def survivors(run_id: bytes, since_ticks: int) -> dict[int, list[int]]:
    """Return the processes that jobs of a run have left behind: process ids by job.

    Args:
        run_id: The mark of the run.
        since_ticks: When the run began, in clock ticks since boot.
    """
    processes = all_processes()
    pids = membership.members(
        processes,
        FirstProcess(0, since_ticks),
        lambda pid: _read_seq(pid, processes[pid], run_id) is not None and is_ours(pid),
        Subreapers(processes).may_go_to,
    )
    return _group_by_job({pid: processes[pid] for pid in pids}, run_id)


def marked(run_id: bytes) -> dict[int, list[int]]:
    """Return the processes that carry the mark of a run, which may be a copy: ids by job."""
    return _group_by_job(all_processes(), run_id)


def _group_by_job(processes: dict[int, Process], run_id: bytes) -> dict[int, list[int]]:
    pids_by_job: dict[int, list[int]] = {}
    for pid, process in sorted(processes.items()):
        seq = _read_seq(pid, process, run_id)
        if seq is not None:
            pids_by_job.setdefault(seq, []).append(pid)
    return pids_by_job


def _read_seq(pid: int, process: Process, run_id: bytes) -> int | None:
    """The number of the job whose mark the process carries; None if it isn't of the run."""
    environ = _read_environ(pid, process)
    if not _has(environ, RUN_VARIABLE + b"=" + run_id):
        return None
    match = _SEQ.search(environ)
    return None if match is None else int(match[1])


def _carries(pid: int, process: Process, *marks: bytes) -> bool:
    environ = _read_environ(pid, process)
    return all(_has(environ, mark) for mark in marks)


def _has(environ: bytes, entry: bytes) -> bool:
    return b"\0" + entry + b"\0" in environ


def _read_environ(pid: int, process: Process) -> bytes:
    """Read the environment of a process, with NUL at both ends; empty if it can't be read.

    A process of another user is skipped: only root could read it, and the user may have made its
    environment as large as he likes (prctl(2), PR_SET_MM).
    """
    with suppress(OSError):  # gone, or another user's
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return b""
        for _ in range(_MOST_READS):
            if process.has_ended or process.flags & PF_KTHREAD:
                break
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                text = file.read(_MOST_BYTES)
            if text:
                return b"\0" + text + b"\0"
            before, process = process, read_process(pid)
            if before.environ_end == process.environ_end != 0:  # it has an empty environment
                break
            time.sleep(_BETWEEN_READS_S)
    return b""


def _depth(pid: int, processes: dict[int, Process]) -> int:
    """The number of known ancestors; bounded, because ids may be used again while we read."""
    depth = 0
    while pid in processes and depth < len(processes):
        pid = processes[pid].parent
        depth += 1
    return depth
