"""Leases as locked files: no daemon, no root, any number of users.

A lease is a small file on which flock(2) holds an exclusive lock; it lives as long as the lock.
The job inherits the descriptor, so the kernel itself ends the lease when the last process that
holds it is gone, whoever crashed before. The file gets its visible name only when it is locked
and complete. `allocate.lock` is held while one allocator reads all leases and adds its own.

Users of one machine trust each other: nobody can remove or change a file of another user, but
what a file says is believed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from simple_gpu_scheduler.adapters.file_locks import is_held
from simple_gpu_scheduler.adapters.lease_dir import (
    lease_dir,
    open_lease_dir,
    user_name,
    waiting_dir,
)
from simple_gpu_scheduler.adapters.output import write_whole
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.leasing import (
    LeaseRecord,
    Ticket,
    Want,
    lease_fields,
    read_lease,
    read_ticket,
    ticket_fields,
)
from simple_gpu_scheduler.ports import Lease

_LEASE, _TICKET, _NEW = ".lease", ".ticket", ".new"
#: Jobs see a lease under this number or above, where no redirection of a script is in its way.
_LEAST_FD = 100
_MOST_BYTES = 1 << 20
_ALLOCATION_LIMIT_S = 30.0
_RETRY_S = 0.001
_TICK_NS = 50_000_000
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

Record = TypeVar("Record")


class Held(NamedTuple):
    """A lease or ticket of ours."""

    lease: Lease
    path: str


class LeaseDir:
    """All leases of the machine, and the only way to add one."""

    def __init__(self, path: str | None = None) -> None:
        """Open the directory, $SGS_LEASE_DIR or the machine's.

        Raises:
            SgsError: leases can't be kept there.
        """
        self.path = lease_dir() if path is None else path
        self.waiting_path = waiting_dir(self.path)
        open_lease_dir(self.path)
        self._uid = os.geteuid()
        self._user = user_name(self._uid)
        self._count = 0
        self._quiet_since_ns: int | None = None

    def leases(self) -> list[LeaseRecord]:
        """All that live now."""
        return _live(self.path, _LEASE, read_lease)

    def tickets(self) -> list[Ticket]:
        """All who wait now, in no order."""
        return _live(self.waiting_path, _TICKET, read_ticket)

    def somebody_waits(self, besides: str | None = None) -> bool:
        """False if surely nobody does, except for the ticket `besides`; cheap."""
        changed_ns = os.stat(self.waiting_path).st_mtime_ns
        if changed_ns == self._quiet_since_ns:  # as nobody waited then, nobody waits now
            return False
        names = os.listdir(self.waiting_path)
        if names and names != [f"{besides}{_TICKET}"]:
            return True
        # Two changes within a tick of the file system's clock have the same time.
        if time.time_ns() - changed_ns > _TICK_NS:
            self._quiet_since_ns = changed_ns
        return False

    @contextmanager
    def allocating(self) -> Iterator[None]:
        """Nobody else adds a lease meanwhile.

        Raises:
            SgsError: another program doesn't let go of the lock.
        """
        fd = _open_allocation_lock(os.path.join(self.path, "allocate.lock"))
        try:
            _lock_soon(fd, self.path)
            yield
        finally:
            os.close(fd)

    def add_lease(self, want: Want, kind: str, parent: str | None = None) -> Held:
        """Add a lease on all of `want.gpus`; call it within `allocating`.

        Raises:
            SgsError: it can't be written or locked.
        """
        name = self._new_id()
        record = LeaseRecord(
            name,
            self._uid,
            self._user,
            os.getpid(),
            kind,
            round(time.time(), 3),
            want.gpus,
            want.units,
            want.memory_mib,
            parent,
        )
        return self._add(self.path, name, _LEASE, lease_fields(record))

    def add_ticket(self, want: Want, since_ns: int | None = None) -> tuple[Held, Ticket]:
        """Say that we wait, from now or since then; those who come later are served later.

        Raises:
            SgsError: it can't be written or locked.
        """
        name = self._new_id()
        since_ns = time.monotonic_ns() if since_ns is None else since_ns
        ticket = Ticket(name, self._uid, self._user, os.getpid(), since_ns, want)
        return self._add(self.waiting_path, name, _TICKET, ticket_fields(ticket)), ticket

    def release(self, held: Held) -> None:
        """End a lease or ticket, whoever else has inherited its descriptor."""
        with suppress(OSError):
            fcntl.flock(held.lease.fd, fcntl.LOCK_UN)
        with suppress(OSError):  # somebody who saw it unlocked may have removed it
            os.unlink(held.path)
        os.close(held.lease.fd)

    def _new_id(self) -> str:
        self._count += 1
        return f"{os.getpid()}-{time.time_ns():x}-{self._count}"

    def _add(self, folder: str, name: str, kind: str, fields: dict[str, Any]) -> Held:
        hidden, visible = (os.path.join(folder, name + end) for end in (_NEW, kind))
        try:
            fd = _create(hidden)
            try:
                os.fchmod(fd, 0o644)  # for everybody to read, whatever our umask
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                write_whole(fd, json.dumps(fields).encode() + b"\n")
                _check_locked(hidden)
                os.rename(hidden, visible)
            except BaseException:
                os.close(fd)
                os.unlink(hidden)
                raise
        except OSError as error:
            raise _unwritable(folder, error) from None
        return Held(Lease(name, fd), visible)


def live_leases(directory: str) -> list[LeaseRecord]:
    """The leases in a directory, which need not exist.

    Raises:
        SgsError: it can't be read.
    """
    return _live(directory, _LEASE, read_lease)


def _live(folder: str, ending: str, read: Callable[[str, Any], Record]) -> list[Record]:
    try:
        names = [name for name in os.listdir(folder) if name.endswith(ending)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SgsError(f"the leases in {folder} can't be read: {error.strerror}") from None
    found: list[Record] = []
    for name in names:
        data = _content_if_locked(os.path.join(folder, name))
        if data is not None:
            try:
                fields = json.loads(data)
            except ValueError:
                fields = None
            found.append(read(os.path.join(folder, name), fields))
    return found


def _content_if_locked(path: str) -> bytes | None:
    """What a lease says, or None if it is over; then its file is removed, if we may."""
    try:
        # For reading only: closing it wakes none of those who watch for the end of a lease.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # gone, or no file of ours
        return None
    try:
        if _held(fd, path):
            return os.read(fd, _MOST_BYTES)
        with suppress(OSError):  # another user's, in a sticky directory
            os.unlink(path)
        return None
    finally:
        os.close(fd)


def _held(fd: int, path: str) -> bool:
    try:
        return is_held(fd)
    except OSError as error:
        raise _unwritable(os.path.dirname(path), error) from None


def _create(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        high_fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD)
    except OSError:  # few are allowed (ulimit -n)
        return fd
    os.close(fd)
    return high_fd


def _check_locked(path: str) -> None:
    """See that a lock means something here: on some file systems it is granted to everybody."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if is_held(fd):
            return
    finally:
        os.close(fd)
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def _open_allocation_lock(path: str) -> int:
    # Without O_CREAT first: fs.protected_regular forbids to "create" another user's file.
    try:
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with suppress(FileExistsError):
            fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            os.fchmod(fd, 0o644)
            return fd
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise _unwritable(os.path.dirname(path), error) from None


def _lock_soon(fd: int, folder: str) -> None:
    """Lock for the microseconds of an allocation; bounded, for the holder may be stopped (^Z)."""
    until_s = time.monotonic() + _ALLOCATION_LIMIT_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise SgsError(
                    f"no GPU can be leased: another program holds {folder}/allocate.lock for "
                    f"{_ALLOCATION_LIMIT_S:g} s now (was it stopped? fuser -v shows it)"
                ) from None
            time.sleep(_RETRY_S)
        except OSError as error:
            raise _unwritable(folder, error) from None


def _unwritable(folder: str, error: OSError) -> SgsError:
    if error.errno in _NO_LOCKS:
        why = "its file system has no working locks (flock)"
        return SgsError(
            f"no GPU can be leased: {folder}: {why}; name a local directory by SGS_LEASE_DIR"
        )
    return SgsError(f"no GPU can be leased: {folder} can't be written ({error.strerror})")
