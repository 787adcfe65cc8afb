"""Find every process of a job, also those that left its session.

A job's processes are those in its session, those that carry its mark in their environment
(`SGS_RUN` and `SGS_SEQ`, which children inherit), and the descendants of both. Read from /proc;
see proc(5).
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import NamedTuple

#: Environment variables that every job carries.
RUN_VARIABLE = b"SGS_RUN"
SEQ_VARIABLE = b"SGS_SEQ"


#: Of a process's flags: it is on its way out; it is a thread of the kernel's (linux/sched.h).
_PF_EXITING, _PF_KTHREAD = 0x4, 0x200000

#: How often, and after what time each, one that becomes another program is asked what it carries.
_MOST_LOOKS, _BETWEEN_LOOKS_S = 100, 0.001


class _Process(NamedTuple):
    state: bytes
    parent: int
    session: int
    flags: int
    start_ticks: int  #: since boot
    environ_end: int  #: its address; 0 while it becomes another program

    @property
    def has_ended(self) -> bool:
        return self.state in (b"Z", b"X")


def members(session: int, run_id: bytes, seq: int) -> tuple[int, ...]:
    """Ids of the living processes of the job, parents first; zombies don't count."""
    processes = _processes()
    marks = RUN_VARIABLE + b"=" + run_id, SEQ_VARIABLE + b"=%d" % seq
    found = {pid for pid, one in processes.items() if one.session == session}
    found |= {pid for pid in processes.keys() - found if _carries(pid, processes[pid], marks)}
    _add_descendants(found, processes)
    found.discard(os.getpid())
    living = [pid for pid in found if not processes[pid].has_ended]
    return tuple(sorted(living, key=lambda pid: (pid != session, _depth(pid, processes), pid)))


def marked(run_id: bytes) -> dict[int, list[int]]:
    """Ids of all living processes that carry the mark of the run, by job."""
    run, seq = RUN_VARIABLE + b"=" + run_id, SEQ_VARIABLE + b"="
    found: dict[int, list[int]] = {}
    for pid, one in sorted(_processes().items()):
        entries = _environ(pid, one)
        numbers = [entry.removeprefix(seq) for entry in entries if entry.startswith(seq)]
        if run in entries and numbers and numbers[0].isdigit():
            found.setdefault(int(numbers[0]), []).append(pid)
    return found


def name(pid: int) -> str:
    """The process's short name, or an empty string if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().decode(errors="replace").rstrip("\n")
    except OSError:
        return ""


def is_stopped(pid: int) -> bool:
    """True if it was stopped (^Z, or by a debugger); False if that can't be seen."""
    try:
        return _process(pid).state in (b"T", b"t")
    except (OSError, ValueError):
        return False


def ended_under(pid: int) -> int | None:
    """The parent of a process that has ended and is yet to be waited for; else None."""
    try:
        one = _process(pid)
    except (OSError, ValueError):
        return None
    return one.parent if one.has_ended else None


def is_dying(pid: int) -> bool:
    """True if it is gone or was killed, though the kernel may not have closed its files yet."""
    try:
        one = _process(pid)
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = dict(line.split(b":\t", 1) for line in file.read().splitlines())
    except OSError:
        return True
    pending = int(lines[b"SigPnd"], 16) | int(lines[b"ShdPnd"], 16)
    killed = pending & (1 << (signal.SIGKILL - 1))
    return bool(killed or one.has_ended or one.flags & _PF_EXITING)


def start_ticks(pid: int) -> int | None:
    """When the process started, since boot; None if it is gone, or only not yet waited for."""
    try:
        one = _process(pid)
    except OSError:
        return None
    return None if one.has_ended else one.start_ticks


def age_s(ticks: int) -> float:
    """How old a process is that started so long after boot; no change of the clock matters."""
    since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(0.0, since_boot_s - ticks / os.sysconf("SC_CLK_TCK"))


def _processes() -> dict[int, _Process]:
    found: dict[int, _Process] = {}
    try:
        entries = os.listdir("/proc")
    except OSError:  # no descriptor is left, say
        return found
    for entry in entries:
        if entry.isdigit():
            with suppress(OSError):  # it ended meanwhile
                found[int(entry)] = _process(int(entry))
    return found


def _process(pid: int) -> _Process:
    with open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read()
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold anything
    numbers = (int(fields[at]) for at in (1, 3, 6, 19, 48))
    return _Process(fields[0], *numbers)


def _carries(pid: int, one: _Process, marks: tuple[bytes, bytes]) -> bool:
    entries = _environ(pid, one)
    return all(entry in entries for entry in marks)


def _environ(pid: int, one: _Process) -> list[bytes]:
    """What it carries. In the midst of execve(2) it has no environment: then it is asked again."""
    with suppress(OSError):  # gone, or another user's
        for _ in range(_MOST_LOOKS):
            if one.has_ended or one.flags & _PF_KTHREAD:
                break
            with open(f"/proc/{pid}/environ", "rb") as file:
                text = file.read()
            if text:
                return text.split(b"\0")
            before, one = one, _process(pid)
            if before.environ_end == one.environ_end != 0:  # it has none for good
                break
            time.sleep(_BETWEEN_LOOKS_S)
    return []


def _depth(pid: int, processes: dict[int, _Process]) -> int:
    """How many known ancestors it has; bounded, as ids may have been used anew while we read."""
    depth = 0
    while pid in processes and depth < len(processes):
        pid = processes[pid].parent
        depth += 1
    return depth


def _add_descendants(found: set[int], processes: dict[int, _Process]) -> None:
    grown = True
    while grown:
        children = {pid for pid, one in processes.items() if one.parent in found}
        grown = not children <= found
        found |= children
