"""Who holds a lock of flock(2), by /proc/locks (proc(5))."""

from __future__ import annotations

import os
from contextlib import suppress

from simple_gpu_scheduler.system.users import user_name


def format_lock_holder(fd: int) -> str:
    """`bob (pid 41)`: one who has the file locked; a general word where that can't be seen."""
    for pid in _holders(fd):
        with suppress(OSError):  # it has ended
            return f"{user_name(_owner(pid))} (pid {pid})"
    return "another program"


def find_lock_owners(fd: int) -> set[int]:
    """The users whose processes have the file locked, as far as they can be seen from here."""
    found: set[int] = set()
    for pid in _holders(fd):
        with suppress(OSError):
            found.add(_owner(pid))
    return found


def _owner(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


def _holders(fd: int) -> list[int]:
    inode = b":%d" % os.fstat(fd).st_ino
    found: list[tuple[bytes, int]] = []
    with suppress(OSError), open("/proc/locks", "rb") as file:
        for line in file:
            words = line.split()
            if words[1] == b"FLOCK" and words[5].endswith(inode):
                found.append((words[5].removesuffix(inode), int(words[4])))
    device = _device(fd) if found else b""
    return [pid for where, pid in found if where == device or not device]


def _device(fd: int) -> bytes:
    """As /proc/locks has it: the mount's; stat(2) has others on Btrfs. b"" if unknown.

    Inodes of different file systems have the same numbers, also such as others have chosen.
    """
    with suppress(OSError, ValueError):
        with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
            mount = next(line.split()[1] for line in file if line.startswith(b"mnt_id:"))
        with open("/proc/self/mountinfo", "rb") as file:
            words = next((words for line in file if (words := line.split())[0] == mount), None)
        if words is not None:
            major, minor = map(int, words[2].split(b":"))
            return b"%02x:%02x" % (major, minor)
    return b""
