"""Find every process of a job, also those that left its session.

`membership` decides who belongs; this reads /proc (proc(5)) for it. A job's processes carry its
mark in their environment: `SGS_RUN` and `SGS_SEQ`, which children inherit.
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


#: How often, and after what time each, one that becomes another program is asked what it carries.
_MOST_LOOKS, _BETWEEN_LOOKS_S = 100, 0.001

#: Of an environment; execve(2) takes no more (6 MiB, whatever the limit of the stack).
_MOST_BYTES = 6 << 20
_SEQ = re.compile(rb"\0SGS_SEQ=(\d{1,18})\0")


class Member(NamedTuple):
    """A process that is to be met again: its number may be another's by then."""

    pid: int
    start_ticks: int


def members(first: FirstProcess, run_id: bytes, seq: int) -> tuple[Member, ...]:
    """The living processes of the job, parents first; zombies don't count."""
    processes = all_processes()
    marks = (RUN_VARIABLE + b"=" + run_id, SEQ_VARIABLE + b"=%d" % seq)
    found = membership.members(
        processes,
        first,
        lambda pid: _carries(pid, processes[pid], *marks) and is_ours(pid),
        Subreapers(processes).may_go_to,
    )
    found.discard(os.getpid())
    living = [pid for pid in found if not processes[pid].has_ended]
    living.sort(key=lambda pid: (pid != first.pid, _depth(pid, processes), pid))
    return tuple(Member(pid, processes[pid].start_ticks) for pid in living)


def survivors(run_id: bytes, since_ticks: int) -> dict[int, list[int]]:
    """Ids of the living processes that jobs of the run have left behind, by job.

    Args:
        since_ticks: when the run began.
    """
    processes = all_processes()
    found = membership.members(
        processes,
        FirstProcess(0, since_ticks),
        lambda pid: _job(pid, processes[pid], run_id) is not None and is_ours(pid),
        Subreapers(processes).may_go_to,
    )
    return _by_job({pid: processes[pid] for pid in found}, run_id)


def marked(run_id: bytes) -> dict[int, list[int]]:
    """Ids of all living processes that carry the mark of the run, by job; it may be a copy."""
    return _by_job(all_processes(), run_id)


def _by_job(processes: dict[int, Process], run_id: bytes) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for pid, one in sorted(processes.items()):
        job = _job(pid, one, run_id)
        if job is not None:
            found.setdefault(job, []).append(pid)
    return found


def _job(pid: int, one: Process, run_id: bytes) -> int | None:
    """The job of the run whose mark it carries."""
    environ = _environ(pid, one)
    if not _has(environ, RUN_VARIABLE + b"=" + run_id):
        return None
    number = _SEQ.search(environ)
    return None if number is None else int(number[1])


def _carries(pid: int, one: Process, *marks: bytes) -> bool:
    environ = _environ(pid, one)
    return all(_has(environ, mark) for mark in marks)


def _has(environ: bytes, entry: bytes) -> bool:
    return b"\0" + entry + b"\0" in environ


def _environ(pid: int, one: Process) -> bytes:
    """What it carries. In the midst of execve(2) it has no environment: then it is asked again.

    That of a process of another user is left alone: where we may read it, we are root, and he
    may have made it as large as he likes (prctl(2), PR_SET_MM).
    """
    with suppress(OSError):  # gone, or another user's
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return b""
        for _ in range(_MOST_LOOKS):
            if one.has_ended or one.flags & PF_KTHREAD:
                break
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                text = file.read(_MOST_BYTES)
            if text:
                return b"\0" + text + b"\0"
            before, one = one, read_process(pid)
            if before.environ_end == one.environ_end != 0:  # it has none for good
                break
            time.sleep(_BETWEEN_LOOKS_S)
    return b""


def _depth(pid: int, processes: dict[int, Process]) -> int:
    """How many known ancestors it has; bounded, as ids may have been used anew while we read."""
    depth = 0
    while pid in processes and depth < len(processes):
        pid = processes[pid].parent
        depth += 1
    return depth
