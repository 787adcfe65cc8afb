"""Find every process of a job, also those that left its session.

Who belongs is decided by `policy.belonging`; this reads /proc (proc(5)) for it. A job's processes
carry its mark in their environment: `SGS_RUN` and `SGS_SEQ`, which children inherit.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.processes import membership as belonging
from simple_gpu_scheduler.processes.membership import First
from simple_gpu_scheduler.processes.subreaper import Orphans
from simple_gpu_scheduler.system.proc import Process, look, read, real_uid, status

#: Environment variables that every job carries.
RUN_VARIABLE = b"SGS_RUN"
SEQ_VARIABLE = b"SGS_SEQ"

#: Of a process's flags: it is on its way out; it is a thread of the kernel's (linux/sched.h).
_PF_EXITING, _PF_KTHREAD = 0x4, 0x200000

#: How often, and after what time each, one that becomes another program is asked what it carries.
_MOST_LOOKS, _BETWEEN_LOOKS_S = 100, 0.001

#: Of an environment; execve(2) takes no more (6 MiB, whatever the limit of the stack).
_MOST_BYTES = 6 << 20
_SEQ = re.compile(rb"\0SGS_SEQ=(\d{1,18})\0")

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Member(NamedTuple):
    """A process that is to be met again: its number may be another's by then."""

    pid: int
    start_ticks: int


def members(first: First, run_id: bytes, seq: int) -> tuple[Member, ...]:
    """The living processes of the job, parents first; zombies don't count."""
    processes = _processes()
    marks = (RUN_VARIABLE + b"=" + run_id, SEQ_VARIABLE + b"=%d" % seq)
    found = belonging.members(
        processes,
        first,
        lambda pid: _carries(pid, processes[pid], *marks) and is_ours(pid),
        Orphans(processes).may_go_to,
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
    processes = _processes()
    found = belonging.members(
        processes,
        First(0, since_ticks),
        lambda pid: _job(pid, processes[pid], run_id) is not None and is_ours(pid),
        Orphans(processes).may_go_to,
    )
    return _by_job({pid: processes[pid] for pid in found}, run_id)


def marked(run_id: bytes) -> dict[int, list[int]]:
    """Ids of all living processes that carry the mark of the run, by job; it may be a copy."""
    return _by_job(_processes(), run_id)


def is_ours(pid: int) -> bool:
    """Whether we have started it, or another process of our user; False if it is gone.

    The real user counts: `sudo` in a job is ours, what others run with our rights is not.
    """
    return real_uid(pid) == os.getuid()


def is_stopped(pid: int) -> bool:
    """True if it was stopped (^Z, or by a debugger); False if that can't be seen."""
    one = look(pid)
    return one is not None and one.state in (b"T", b"t")


def is_dying(pid: int) -> bool:
    """True if it is gone or was killed, though the kernel may not have closed its files yet."""
    one, told = look(pid), status(pid)
    if one is None or not told:
        return True
    pending = int(told[b"SigPnd"], 16) | int(told[b"ShdPnd"], 16)
    killed = pending & (1 << (signal.SIGKILL - 1))
    return bool(killed or one.has_ended or one.flags & _PF_EXITING)


def start_ticks(pid: int) -> int | None:
    """When the process started, since boot; None if it is gone, or only not yet waited for."""
    one = look(pid)
    return None if one is None or one.has_ended else one.start_ticks


def boot_ticks() -> int:
    """The time now, as the kernel says when a process was started."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S)


def ticks_at(wall_s: float) -> int:
    """A time by the wall clock, since boot; not later than now, however the clock was set."""
    return boot_ticks() - max(0, int((time.time() - wall_s) * _TICKS_PER_S))


def age_s(ticks: int) -> float:
    """How old a process is that started so long after boot; no change of the clock matters."""
    since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(0.0, since_boot_s - ticks / _TICKS_PER_S)


def _processes() -> dict[int, Process]:
    found: dict[int, Process] = {}
    try:
        entries = os.listdir("/proc")
    except OSError:  # no descriptor is left, say
        return found
    for entry in entries:
        if entry.isdigit():
            with suppress(OSError):  # it ended meanwhile
                found[int(entry)] = read(int(entry))
    return found


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
            if one.has_ended or one.flags & _PF_KTHREAD:
                break
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                text = file.read(_MOST_BYTES)
            if text:
                return b"\0" + text + b"\0"
            before, one = one, read(pid)
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
