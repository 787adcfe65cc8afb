"""Names of users."""

from __future__ import annotations

import functools
import os


def user_name(uid: int | None = None) -> str:
    """Return the name of a user (default: ours); the number if the user has no name."""
    return _name_of(os.geteuid() if uid is None else uid)


def overflow_uid() -> int:
    """Return the id that stands for users outside this user namespace (user_namespaces(7))."""
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
