"""One process, as the kernel tells of it (proc(5))."""

from __future__ import annotations

from typing import NamedTuple


class Process(NamedTuple):
    """What the kernel says of a process."""

    state: bytes
    parent: int
    session: int
    flags: int
    start_ticks: int  #: since boot
    environ_end: int  #: its address; 0 while it becomes another program

    @property
    def has_ended(self) -> bool:
        """True if it is only yet to be waited for."""
        return self.state in (b"Z", b"X")


def look(pid: int) -> Process | None:
    """The process; None if it is gone."""
    try:
        return read(pid)
    except (OSError, ValueError):
        return None


def read(pid: int) -> Process:
    """The process.

    Raises:
        OSError: it is gone, or can't be looked at.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read()
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold anything
    numbers = (int(fields[at]) for at in (1, 3, 6, 19, 48))
    return Process(fields[0], *numbers)


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
