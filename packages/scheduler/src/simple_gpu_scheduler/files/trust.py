"""Who may change a folder or a file: ourselves and root alone, or others as well."""

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
    """A folder or file that somebody else made, or can change. The message says which and why."""


def why_not_firm(fd: int, trusted: Collection[int]) -> str:
    """How somebody else could change what the names in a folder mean; empty if nobody could.

    In a sticky folder that all can write, each name is its owner's.
    """
    status = os.fstat(fd)
    if status.st_uid not in trusted:
        return f"belongs to {user_name(status.st_uid)}"
    return "" if status.st_mode & stat.S_ISVTX else _writers(fd, status)


def only_writer(fd: int) -> bool:
    """Whether nobody but its owner and root can write in a folder."""
    return not _writers(fd, os.fstat(fd))


def trusted_users() -> set[int]:
    """We ourselves and root."""
    return {0, os.geteuid(), *_unmapped_root()}


def _writers(fd: int, status: os.stat_result) -> str:
    """Who else can write there; empty if nobody."""
    if status.st_mode & _BY_ALL:
        return "can be written by everybody"
    if status.st_mode & _BY_GROUP and not _is_private_group(fd, status.st_gid):
        return f"can be written by others (group {_group_name(status.st_gid)})"
    return ""


def require_own_folder(path: str, fd: int) -> None:
    """See that a folder is ours, and that nobody else can write there.

    Raises:
        UnsafeError: it isn't, or somebody can.
    """
    status = os.fstat(fd)
    if status.st_uid != os.geteuid():
        raise UnsafeError(
            f"{path} belongs to {user_name(status.st_uid)}; expected a folder of "
            f"{user_name()}'s own"
        )
    why = _writers(fd, status)
    if why:
        raise UnsafeError(f"{path} {why}; expected that only {user_name()} can{remedy(path, fd)}")


def require_own_file(path: str, status: os.stat_result) -> None:
    """See that it is a plain file of ours, without a second name.

    Raises:
        UnsafeError: it is something else.
    """
    own = status.st_uid == os.geteuid() and status.st_nlink == 1
    if not own or not stat.S_ISREG(status.st_mode) or status.st_mode & _BY_ALL:
        raise UnsafeError(strange(path, status))


def strange(path: str, status: os.stat_result) -> str:
    """What is wrong with a file, for its user."""
    if status.st_uid != os.geteuid():
        why = f"belongs to {user_name(status.st_uid)}"
    elif not stat.S_ISREG(status.st_mode):
        why = "is no plain file"
    elif status.st_nlink > 1:
        why = "has a second name (a hard link)"
    else:
        why = f"can be written by everybody (mend it: chmod go-w {shell_word(path)})"
    return f"{path} {why}; expected a file of {user_name()}'s own"


def remedy(path: str, fd: int) -> str:
    """The line that mends a folder which others can write, if we or root can."""
    if os.fstat(fd).st_uid not in (os.geteuid(), 0):
        return ""
    return f" (mend it: chmod go-w {shell_word(path)})"


@functools.cache
def _unmapped_root() -> frozenset[int]:
    """How root's files look in a user namespace that doesn't know root (Apptainer, bubblewrap)."""
    try:
        with open("/proc/self/uid_map") as file:
            maps = [tuple(map(int, line.split())) for line in file]
    except (OSError, ValueError):
        return frozenset()
    known = any(outside == 0 and count for _, outside, count in maps)
    return frozenset() if known else frozenset([overflow_uid()])


def _is_private_group(fd: int, gid: int) -> bool:
    """Whether a group is ours alone, as many systems give one to each user (umask 002).

    With a list of access rights the group's bits stand for others as well (acl(5)).
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    own = user.pw_gid == gid and group.gr_name == user.pw_name
    return own and set(group.gr_mem) <= {user.pw_name} and not _has_acl(fd)


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
