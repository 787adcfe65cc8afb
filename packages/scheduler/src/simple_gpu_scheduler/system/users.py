"""Users by name."""

from __future__ import annotations

import functools
import os


def user_name(uid: int | None = None) -> str:
    """The name of a user, ourselves if none is given; the number where there is no name."""
    return _name_of(os.geteuid() if uid is None else uid)


def overflow_uid() -> int:
    """How users look whom this user namespace does not know (user_namespaces(7))."""
    try:
        with open("/proc/sys/kernel/overflowuid") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 65534


@functools.cache
def _name_of(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
