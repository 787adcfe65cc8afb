"""Who holds a lock of flock(2), by /proc/locks (proc(5))."""

from __future__ import annotations

import os
from contextlib import suppress

from simple_gpu_scheduler.adapters.users import user_name


def who_locks(fd: int) -> str:
    """`bob (pid 41)`: one who has the file locked; a general word where that can't be seen."""
    for pid in _holders(fd):
        with suppress(OSError):  # it has ended
            return f"{user_name(_owner(pid))} (pid {pid})"
    return "another program"


def lock_owners(fd: int) -> set[int]:
    """The users whose processes have the file locked, as far as they can be seen from here."""
    found: set[int] = set()
    for pid in _holders(fd):
        with suppress(OSError):
            found.add(_owner(pid))
    return found


def _owner(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


def _holders(fd: int) -> list[int]:
    """Not by the device, which stat(2) calls otherwise on some file systems, as on Btrfs."""
    inode = b":%d" % os.fstat(fd).st_ino
    found: list[int] = []
    with suppress(OSError), open("/proc/locks", "rb") as file:
        for line in file:
            words = line.split()
            if words[1] == b"FLOCK" and words[5].endswith(inode):
                found.append(int(words[4]))
    return found
