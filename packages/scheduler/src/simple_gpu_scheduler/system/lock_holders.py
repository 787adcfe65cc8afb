"""Finds the processes that hold a lock of flock(2), in /proc/locks (proc(5))."""

from __future__ import annotations

import os
from contextlib import suppress

from simple_gpu_scheduler.system.users import user_name


def format_lock_holder(fd: int) -> str:
    """`bob (pid 41)`: a process that has the file locked; "another program" if it is unknown."""
    for pid in _find_holders(fd):
        with suppress(OSError):  # the process has ended
            return f"{user_name(_owner(pid))} (pid {pid})"
    return "another program"


def find_lock_owners(fd: int) -> set[int]:
    """Return the user ids of the visible processes that have the file locked."""
    uids: set[int] = set()
    for pid in _find_holders(fd):
        with suppress(OSError):
            uids.add(_owner(pid))
    return uids


def _owner(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


def _find_holders(fd: int) -> list[int]:
    """The processes that hold a lock on the file."""
    inode = b":%d" % os.fstat(fd).st_ino
    holders: list[tuple[bytes, int]] = []  # device and process
    with suppress(OSError), open("/proc/locks", "rb") as file:
        for line in file:
            fields = line.split()
            if fields[1] == b"FLOCK" and fields[5].endswith(inode):
                holders.append((fields[5].removesuffix(inode), int(fields[4])))
    own_device = _read_device(fd) if holders else b""
    return [pid for device, pid in holders if device == own_device or not own_device]


def _read_device(fd: int) -> bytes:
    """The device of a file as /proc/locks shows it; empty if unknown.

    It is that of the mount: stat(2) returns another one on Btrfs. The inode alone is not enough:
    another user could have a file with the same inode on another file system.
    """
    with suppress(OSError, ValueError):
        with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
            mount = next(line.split()[1] for line in file if line.startswith(b"mnt_id:"))
        with open("/proc/self/mountinfo", "rb") as file:
            lines = (line.split() for line in file)
            fields = next((fields for fields in lines if fields[0] == mount), None)
        if fields is not None:
            major, minor = map(int, fields[2].split(b":"))
            return b"%02x:%02x" % (major, minor)
    return b""
