"""Folders and files, opened so that nobody else can put others in their place.

A path is as safe as its weakest folder. So a path is walked once, from the root, each step
relative to the descriptor of the step before: what was looked at (fstat) is what is used, also if
somebody swaps a folder for a link between two looks. A folder is *firm* if only we and root can
change what its names mean. Everything in a folder is then reached through its descriptor.

What this is for: state, leases, results and logs, also in folders that others can write.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Callable, Collection
from contextlib import suppress

from simple_gpu_scheduler.adapters.output import write_whole
from simple_gpu_scheduler.adapters.users import overflow_uid, user_name
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.printable import shell_word

#: Nothing is waited for (a FIFO, a lease of fcntl(2)), followed, or inherited by jobs.
CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | CAREFUL
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
_OURS_ALONE = 0o700
_BY_OTHERS, _BY_GROUP, _BY_ALL = 0o022, 0o020, 0o002


class UnsafeError(SgsError):
    """A folder or file that somebody else made, or can change. The message says which and why."""


class Folder:
    """An open folder; names in it are reached through its descriptor."""

    def __init__(self, path: str, fd: int) -> None:
        """`path` is for messages and for programs that take no descriptors."""
        self.path = path
        self.fd = fd

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let it go."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def join(self, name: str) -> str:
        """The path of a name in it."""
        return f"{self.path.rstrip('/')}/{name}"

    def names(self) -> list[str]:
        """All names in it.

        Raises:
            OSError: it can't be read.
        """
        return os.listdir(self.fd)

    def has(self, name: str) -> bool:
        """Whether there is such a name, whatever it is."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file of ours; with O_CREAT it is made if need be.

        Raises:
            UnsafeError: it isn't a plain file of ours that only we can write.
            OSError: it can't be opened.
        """
        assert not flags & os.O_TRUNC, "what is not ours would be empty before we look"
        fd = _opened(self.join(name), name, flags | CAREFUL, mode, self.fd)
        try:
            _require_own_file(self.join(name), os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def require_own_names(self) -> None:
        """See that all that lies there is ours or root's, and nothing else by a second name.

        Raises:
            UnsafeError: something isn't. The message names it.
        """
        for name in self.names():
            try:
                status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:  # SQLite's files come and go
                continue
            folder = stat.S_ISDIR(status.st_mode)
            if status.st_uid not in (os.geteuid(), 0) or (not folder and status.st_nlink > 1):
                raise UnsafeError(_strange(self.join(name), status))

    def create(self, name: str, mode: int = 0o600, flags: int = os.O_WRONLY) -> int:
        """A new file.

        Raises:
            FileExistsError: there is something of that name.
            OSError: it can't be made.
        """
        new = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags | new, mode, dir_fd=self.fd)

    def read(self, name: str, most_bytes: int = 1 << 30) -> bytes:
        """What a file of ours holds.

        Raises:
            UnsafeError: as `open`.
            OSError: it can't be read.
        """
        with os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            return file.read(most_bytes)

    def write(self, name: str, data: bytes, mode: int = 0o600, *, sync: bool = False) -> None:
        """Put a file there at once and whole, in the place of what was there.

        With `sync` it is on the disk, by that name, when this returns.

        Raises:
            OSError: it can't be written; what was there stays.
        """
        hidden = f"{name}.{os.urandom(8).hex()}"  # nobody can have put something there before
        fd = self.create(hidden, mode)
        try:
            try:
                write_whole(fd, data)
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
            self.rename(hidden, name)
        except BaseException:
            with suppress(OSError):
                self.remove(hidden)
            raise
        if sync:
            os.fsync(self.fd)

    def rename(self, old: str, new: str) -> None:
        """Give a name another name, in the place of what had that.

        Raises:
            OSError: it can't be.
        """
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove the name of a file.

        Raises:
            OSError: it can't be.
        """
        os.unlink(name, dir_fd=self.fd)

    def child(self, name: str, *, make: bool = False, mode: int = _OURS_ALONE) -> Folder:
        """A folder in it that is ours, and that only we can write; with `make` it is made.

        Raises:
            UnsafeError: there is something else.
            OSError: it isn't there, or can't be made.
        """
        path = self.join(name)
        if make:
            _make(self.fd, name, mode)
        fd = _opened(path, name, _FOLDER, 0, self.fd)
        folder = Folder(path, fd)
        try:
            _require_own_folder(path, fd)
        except BaseException:
            folder.close()
            raise
        return folder


def open_folder(path: str) -> Folder:
    """Open a folder that anybody may have made, such as one that several users share.

    What is in it is to be looked at one by one.

    Raises:
        OSError: it isn't there, or can't be opened.
    """
    return Folder(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def open_shared(path: str, *, make: Callable[[str, int], None] | None = None) -> Folder:
    """Open a folder that is no link and may be anybody's; all above it is firm.

    Who owns the folder may own those above it as well: what is in it depends on him anyway.

    Args:
        make: makes it if it isn't there, by its name and the descriptor of the folder above.

    Raises:
        UnsafeError: somebody else can put another folder in its place.
        OSError: it isn't there, or can't be made or opened.
    """
    above, name = os.path.split(path)
    trusted = _owner(path)
    walk = Walk(above, trusted)
    parent = walk.end()
    try:
        walk.require_firm(above, parent)
        try:
            fd = _opened(path, name or ".", _FOLDER, 0, parent)
        except FileNotFoundError:
            if make is None:
                raise
            make(name, parent)
            fd = _opened(path, name, _FOLDER, 0, parent)
    finally:
        os.close(parent)
    if trusted and os.fstat(fd).st_uid not in trusted:  # those above are firm for him alone
        os.close(fd)
        raise UnsafeError(f"{path} is another folder than a moment ago")
    return Folder(path, fd)


def _owner(path: str) -> tuple[int, ...]:
    try:
        return (os.lstat(path).st_uid,)
    except OSError:
        return ()


def open_private(path: str, *, above: str, make: bool = True) -> Folder:
    """Open a folder for us alone. Folders that aren't there are made, with mode 0700.

    Args:
        above: the part of the path that the user has chosen: there, links of his or of root's
            are followed. Below it there are none, and all is ours.
        make: False: nothing is made.

    Raises:
        UnsafeError: somebody else has made one of them, or can change it.
        OSError: one of them isn't there, or can't be made or opened.
    """
    walk = Walk(above, make=make)
    folder = _reopened(above, walk.end())
    walk.require_firm(above, folder.fd)
    if path == above:
        _require_own_folder(path, folder.fd)
    for name in _parts(os.path.relpath(path, above)):
        with folder:
            folder = folder.child(name, make=make)
    if path != above and stat.S_IMODE(os.fstat(folder.fd).st_mode) & 0o077:
        os.fchmod(folder.fd, _OURS_ALONE)
    return folder


class Walk:
    """The way from the root to a folder, on which each folder must be firm but the last."""

    def __init__(self, path: str, trusted: Collection[int] = (), *, make: bool = False) -> None:
        self._trusted = {*trusted_users(), *trusted}
        self._make = make
        self._expected = "a folder"
        self._rest = _parts(os.path.abspath(path))[::-1]  # what is still to go, the last first
        self._shown = "/"  # where we are
        self._links = 0

    def end(self) -> int:
        """The folder's descriptor, of O_PATH."""
        return self._go(os.open(self._shown, _STEP), 0)

    def _go(self, fd: int, left: int) -> int:
        """Go on from an open folder until so many names are left."""
        try:
            while len(self._rest) > left:
                self.require_firm(self._shown, fd)
                before, fd = fd, self._step(fd, self._rest.pop())
                os.close(before)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def require_firm(self, path: str, fd: int) -> None:
        """See that only root and those whom we trust can change what the names in it mean.

        Raises:
            UnsafeError: somebody else can.
        """
        why = why_not_firm(fd, self._trusted)
        if why:
            raise UnsafeError(f"{path} {why}, who could put other files there{_remedy(path, fd)}")

    def _step(self, fd: int, name: str) -> int:
        """The next folder; after a link, where that begins."""
        path = os.path.normpath(os.path.join(self._shown, name))
        try:
            step = self._open(fd, name)
        except NotADirectoryError:
            return self._follow(fd, name, path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        self._shown = path
        return step

    def _open(self, fd: int, name: str) -> int:
        """Open it; O_DIRECTORY has it mounted where that is done by need (autofs)."""
        try:
            return os.open(name, _STEP | os.O_DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            if not self._make:
                raise
            self._make_folder(fd, name)
            return os.open(name, _STEP | os.O_DIRECTORY, dir_fd=fd)

    def _make_folder(self, fd: int, name: str) -> None:
        _make(fd, name, _OURS_ALONE)

    def _follow(self, fd: int, name: str, path: str) -> int:
        link = os.open(name, _STEP, dir_fd=fd)
        try:
            target = self._target(link, path)
        finally:
            os.close(link)
        self._rest += _parts(target)[::-1]
        if not target.startswith("/"):
            return os.dup(fd)
        self._shown = "/"
        return os.open("/", _STEP)

    def _target(self, link: int, path: str) -> str:
        status = os.fstat(link)
        if status.st_uid not in self._trusted:
            raise UnsafeError(
                f"{path} is a link that {user_name(status.st_uid)} made; expected {self._expected}"
            )
        if not stat.S_ISLNK(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        self._links += 1
        if self._links > _MOST_LINKS or status.st_nlink > 1:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        return os.readlink("", dir_fd=link)


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


def _require_own_folder(path: str, fd: int) -> None:
    status = os.fstat(fd)
    if status.st_uid != os.geteuid():
        raise UnsafeError(
            f"{path} belongs to {user_name(status.st_uid)}; expected a folder of "
            f"{user_name()}'s own"
        )
    why = _writers(fd, status)
    if why:
        raise UnsafeError(f"{path} {why}; expected that only {user_name()} can{_remedy(path, fd)}")


def _require_own_file(path: str, status: os.stat_result) -> None:
    own = status.st_uid == os.geteuid() and status.st_nlink == 1
    if not own or not stat.S_ISREG(status.st_mode) or status.st_mode & _BY_ALL:
        raise UnsafeError(_strange(path, status))


def _strange(path: str, status: os.stat_result) -> str:
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


def _remedy(path: str, fd: int) -> str:
    if os.fstat(fd).st_uid not in (os.geteuid(), 0):
        return ""
    return f" (mend it: chmod go-w {shell_word(path)})"


def _make(fd: int, name: str, mode: int) -> None:
    """Make a folder, unless there is something of that name."""
    with suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=fd)


def _reopened(path: str, step: int) -> Folder:
    """The folder that a walk has come to, for reading."""
    try:
        return Folder(path, os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=step))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(step)


def _opened(path: str, name: str, flags: int, mode: int, dir_fd: int) -> int:
    """Open it, with the whole path in the error."""
    try:
        return os.open(name, flags, mode, dir_fd=dir_fd)
    except OSError as error:
        if _is_link(name, dir_fd):
            raise UnsafeError(f"{path} is a symbolic link; expected none") from None
        raise OSError(error.errno, error.strerror, path) from None


def _is_link(name: str, dir_fd: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


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
