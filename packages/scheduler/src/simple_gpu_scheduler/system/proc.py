"""One process, as the kernel tells of it (proc(5))."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import NamedTuple


class Process(NamedTuple):
    """What the kernel says of a process."""

    state: bytes
    comm: bytes  #: its short name, any characters
    parent: int
    session: int
    flags: int
    start_ticks: int  #: since boot
    environ_end: int  #: its address; 0 while it becomes another program

    @property
    def has_ended(self) -> bool:
        """True if it is only yet to be waited for."""
        return self.state in (b"Z", b"X")


def find_process(pid: int) -> Process | None:
    """The process; None if it is gone."""
    try:
        return read_process(pid)
    except (OSError, ValueError):
        return None


def read_process(pid: int) -> Process:
    """The process.

    Raises:
        OSError: it is gone, or can't be looked at.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read()
    end = text.rindex(b")")  # the name before it may hold anything
    fields = text[end + 2 :].split()
    numbers = (int(fields[at]) for at in (1, 3, 6, 19, 48))
    return Process(fields[0], text[text.index(b"(") + 1 : end], *numbers)


def real_uid(pid: int) -> int | None:
    """Whose the process is; None if it is gone.

    The owner of its folder is root where it may not be traced.
    """
    uid = status(pid).get(b"Uid", b"").split()
    return int(uid[0]) if uid else None


def status(pid: int) -> dict[bytes, bytes]:
    """What the kernel says of it in words, by name; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(b":") for line in lines)
    return {name: value for name, _, value in pairs}


def name(pid: int) -> str:
    """The process's short name, or an empty string if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().decode(errors="replace").rstrip("\n")
    except OSError:
        return ""


#: Of a process's flags: it is on its way out; it is a thread of the kernel's (linux/sched.h).
_PF_EXITING, PF_KTHREAD = 0x4, 0x200000


_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def is_ours(pid: int) -> bool:
    """Whether we have started it, or another process of our user; False if it is gone.

    The real user counts: `sudo` in a job is ours, what others run with our rights is not.
    """
    return real_uid(pid) == os.getuid()


def is_stopped(pid: int) -> bool:
    """True if it was stopped (^Z, or by a debugger); False if that can't be seen."""
    one = find_process(pid)
    return one is not None and one.state in (b"T", b"t")


def is_dying(pid: int) -> bool:
    """True if it is gone or was killed, though the kernel may not have closed its files yet."""
    one, told = find_process(pid), status(pid)
    if one is None or not told:
        return True
    pending = int(told[b"SigPnd"], 16) | int(told[b"ShdPnd"], 16)
    killed = pending & (1 << (signal.SIGKILL - 1))
    return bool(killed or one.has_ended or one.flags & _PF_EXITING)


def start_ticks(pid: int) -> int | None:
    """When the process started, since boot; None if it is gone, or only not yet waited for."""
    one = find_process(pid)
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


def all_processes() -> dict[int, Process]:
    """All processes that can be seen, by their numbers."""
    found: dict[int, Process] = {}
    try:
        entries = os.listdir("/proc")
    except OSError:  # no descriptor is left, say
        return found
    for entry in entries:
        if entry.isdigit():
            with suppress(OSError):  # it ended meanwhile
                found[int(entry)] = read_process(int(entry))
    return found
