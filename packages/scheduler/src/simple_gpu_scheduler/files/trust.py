"""Checks who can change a folder or a file: only we and root, or others as well."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Collection

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.system.users import overflow_uid, user_name
from simple_gpu_scheduler.text.printable import shell_word

_BY_GROUP, _BY_ALL = 0o020, 0o002


class UnsafeError(SgsError):
    """Another user made the folder or file, or can change it. The message says which and why."""


def why_unsafe(fd: int, trusted: Collection[int]) -> str:
    """Why other users can change what the names in a folder mean; empty if they can't.

    In a sticky folder that everybody can write, only the owner of a file can change its name.
    """
    status = os.fstat(fd)
    if status.st_uid not in trusted:
        return f"belongs to {user_name(status.st_uid)}"
    return "" if status.st_mode & stat.S_ISVTX else _find_writers(fd, status)


def only_writer(fd: int) -> bool:
    """True if only its owner and root can write in a folder."""
    return not _find_writers(fd, os.fstat(fd))


def trusted_users() -> set[int]:
    """Return the user ids of ourselves and root."""
    return {0, os.geteuid(), *_unmapped_root()}


def _find_writers(fd: int, status: os.stat_result) -> str:
    """Who else can write in a folder; empty if nobody can."""
    if status.st_mode & _BY_ALL:
        return "can be written by everybody"
    if status.st_mode & _BY_GROUP and not _is_private_group(fd, status.st_gid):
        return f"can be written by others (group {_group_name(status.st_gid)})"
    return ""


def require_own_folder(path: str, fd: int) -> None:
    """Check that a folder is ours, and that nobody else can write in it.

    Raises:
        UnsafeError: It isn't, or others can.
    """
    status = os.fstat(fd)
    if status.st_uid != os.geteuid():
        raise UnsafeError(
            f"{path} belongs to {user_name(status.st_uid)}; expected a folder of "
            f"{user_name()}'s own"
        )
    reason = _find_writers(fd, status)
    if reason:
        raise UnsafeError(
            f"{path} {reason}; expected that only {user_name()} can{remedy(path, fd)}"
        )


def require_own_file(path: str, status: os.stat_result) -> None:
    """Check that a file is a plain file of ours, without a second hard link.

    Raises:
        UnsafeError: It isn't.
    """
    is_own = status.st_uid == os.geteuid() and status.st_nlink == 1
    if not is_own or not stat.S_ISREG(status.st_mode) or status.st_mode & _BY_ALL:
        raise UnsafeError(describe_unsafe_file(path, status))


def describe_unsafe_file(path: str, status: os.stat_result) -> str:
    """The message for a file that isn't a plain file of ours."""
    if status.st_uid != os.geteuid():
        reason = f"belongs to {user_name(status.st_uid)}"
    elif not stat.S_ISREG(status.st_mode):
        reason = "is no plain file"
    elif status.st_nlink > 1:
        reason = "has a second name (a hard link)"
    else:
        reason = f"can be written by everybody (to fix it: chmod go-w {shell_word(path)})"
    return f"{path} {reason}; expected a file of {user_name()}'s own"


def remedy(path: str, fd: int) -> str:
    """How to fix a folder that others can write; empty if another user owns it."""
    if os.fstat(fd).st_uid not in (os.geteuid(), 0):
        return ""
    return f" (to fix it: chmod go-w {shell_word(path)})"


@functools.cache
def _unmapped_root() -> frozenset[int]:
    """The owner shown for root's files in a namespace without root (Apptainer, bubblewrap)."""
    try:
        with open("/proc/self/uid_map") as file:
            maps = [tuple(map(int, line.split())) for line in file]
    except (OSError, ValueError):
        return frozenset()
    has_root = any(outside == 0 and count for _, outside, count in maps)
    return frozenset() if has_root else frozenset([overflow_uid()])


def _is_private_group(fd: int, gid: int) -> bool:
    """True if we are the only member of a group: many systems have one for each user (umask 002).

    With a list of access rights, the bits of the group also stand for other users (acl(5)).
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    is_own = user.pw_gid == gid and group.gr_name == user.pw_name
    return is_own and set(group.gr_mem) <= {user.pw_name} and not _has_acl(fd)


def _has_acl(fd: int) -> bool:
    try:
        return bool(os.getxattr(f"/proc/self/fd/{fd}", "system.posix_acl_access"))
    except OSError:
        return False


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
