"""Reads what the kernel says of processes: /proc (proc(5)).

Ticks are clock ticks since boot: no change of the wall clock matters.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import NamedTuple


class Process(NamedTuple):
    """What /proc/PID/stat says of a process."""

    state: bytes  #: a letter, such as b"R"
    comm: bytes  #: its short name; it may have any characters
    parent: int
    session: int
    flags: int
    start_ticks: int  #: since boot
    environ_end: int  #: the address of the end of its environment; 0 within execve(2)

    @property
    def has_ended(self) -> bool:
        """True if it is a zombie."""
        return self.state in (b"Z", b"X")


def find_process(pid: int) -> Process | None:
    """Read a process; None if it is gone."""
    try:
        return read_process(pid)
    except (OSError, ValueError):
        return None


def read_process(pid: int) -> Process:
    """Read a process.

    Raises:
        OSError: It is gone, or can't be read.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read()
    end = text.rindex(b")")  # the name before it may have any characters
    fields = text[end + 2 :].split()
    numbers = (int(fields[index]) for index in (1, 3, 6, 19, 48))
    return Process(fields[0], text[text.index(b"(") + 1 : end], *numbers)


def real_uid(pid: int) -> int | None:
    """Return the real user id of a process; None if it is gone.

    The owner of /proc/PID is not enough: that is root if the process may not be traced.
    """
    uid = status(pid).get(b"Uid", b"").split()
    return int(uid[0]) if uid else None


def status(pid: int) -> dict[bytes, bytes]:
    """Read /proc/PID/status, by field; empty if the process is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(b":") for line in lines)
    return {name: value for name, _, value in pairs}


def name(pid: int) -> str:
    """Return the short name of a process; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().decode(errors="replace").rstrip("\n")
    except OSError:
        return ""


#: Flags of a process (linux/sched.h): it is exiting; it is a thread of the kernel.
_PF_EXITING, PF_KTHREAD = 0x4, 0x200000

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def is_ours(pid: int) -> bool:
    """True if our user has started the process; False if it is gone.

    The real user counts: `sudo` in a job is ours, but a program that others run with our rights
    is not.
    """
    return real_uid(pid) == os.getuid()


def is_stopped(pid: int) -> bool:
    """True if the process was stopped (^Z, or by a debugger); False if that is unknown."""
    process = find_process(pid)
    return process is not None and process.state in (b"T", b"t")


def is_dying(pid: int) -> bool:
    """True if the process is gone or was killed; its files may still be open."""
    process, fields = find_process(pid), status(pid)
    if process is None or not fields:
        return True
    pending = int(fields[b"SigPnd"], 16) | int(fields[b"ShdPnd"], 16)
    is_killed = pending & (1 << (signal.SIGKILL - 1))
    return bool(is_killed or process.has_ended or process.flags & _PF_EXITING)


def start_ticks(pid: int) -> int | None:
    """Return when the process started, in ticks; None if it is gone or a zombie."""
    process = find_process(pid)
    return None if process is None or process.has_ended else process.start_ticks


def boot_ticks() -> int:
    """Return the time now, in ticks."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S)


def ticks_at(wall_s: float) -> int:
    """Return a time of the wall clock in ticks; it is never later than now."""
    return boot_ticks() - max(0, int((time.time() - wall_s) * _TICKS_PER_S))


def age_s(ticks: int) -> float:
    """Return the age in seconds of a process that started at this time."""
    since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(0.0, since_boot_s - ticks / _TICKS_PER_S)


def all_processes() -> dict[int, Process]:
    """Read all visible processes, by their numbers."""
    processes: dict[int, Process] = {}
    try:
        entries = os.listdir("/proc")
    except OSError:  # for example, no descriptor is left
        return processes
    for entry in entries:
        if entry.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                processes[int(entry)] = read_process(int(entry))
    return processes
