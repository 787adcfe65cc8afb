"""Who holds a lock of flock(2), by /proc/locks (proc(5))."""

from __future__ import annotations

import os

from simple_gpu_scheduler.adapters.users import user_name


def who_locks(fd: int) -> str:
    """`bob (pid 41)`: one who has the file locked; a general word where that can't be seen."""
    status = os.fstat(fd)
    place = b"%02x:%02x:%d" % (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    try:
        with open("/proc/locks", "rb") as file:
            found = [line.split() for line in file if place in line and b" -> " not in line]
        pid = next(int(words[4]) for words in found if words[1] == b"FLOCK")
        return f"{user_name(os.stat(f'/proc/{pid}').st_uid)} (pid {pid})"
    except (OSError, ValueError, IndexError, StopIteration):
        return "another program"
