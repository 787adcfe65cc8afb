"""Leases as locked files: no daemon, no root, any number of users. The folder tells the protocol.

`FileLeaseStore` is one program's access to the directory: it lists, adds, passes on and ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.leases.directory import lease_dir, open_lease_dir
from simple_gpu_scheduler.leases.directory_lock import PATIENCE_S, DirectoryLock
from simple_gpu_scheduler.leases.format import (
    MOST_GPUS,
    Read,
    Record,
    lease_content,
    read_lease,
    read_ticket,
    ticket_content,
    turn_content,
)
from simple_gpu_scheduler.leases.lease_files import LeaseFiles, LiveFile
from simple_gpu_scheduler.leases.ledger import with_believed_start
from simple_gpu_scheduler.leases.ports import Held
from simple_gpu_scheduler.leases.records import Lease, LeaseRecord, LeaseRequest, Ticket, token
from simple_gpu_scheduler.system.proc import is_stopped, start_ticks
from simple_gpu_scheduler.system.users import user_name

_LEASE, _TICKET = ".lease", ".ticket"


class FileLeaseStore:
    """Implements `leases.ports.LeaseStore`."""

    def __init__(self, path: str | None = None, *, patience_s: float = PATIENCE_S) -> None:
        """Open the directory.

        Args:
            path: the directory; None: $SGS_LEASE_DIR, or the machine's.
            patience_s: how long to wait for a program that has the directory locked, in seconds.

        Raises:
            SgsError: leases can't be kept there.
        """
        self.path = lease_dir() if path is None else path
        self._files = LeaseFiles(self.path, open_lease_dir)
        self.uid = os.geteuid()
        self._names: frozenset[str] = frozenset()  # all files when last listed
        self._leases: frozenset[str] = frozenset()  # those of `_names` that are leases
        self._tickets: frozenset[str] = frozenset()  # those of `_names` that are tickets
        self._read_leases: frozenset[str] = frozenset()  # `_leases` when leases were last read
        self._lock = DirectoryLock(self._files, patience_s)
        self._is_alone = False  # True: we have the lock, so others add no files
        self._start = (0, 0)  # our pid, and its start in clock ticks

    def restore(self) -> None:
        """See `leases.ports.LeaseStore`."""
        if not os.path.isdir(self.path):
            open_lease_dir(self.path).close()

    def leases(self) -> list[LeaseRecord]:
        """All live leases; see `leases.ports.LeaseStore`."""
        self._refresh()
        self._read_leases = self._leases
        return [lease for _, lease in _records(self._files, self._read_leases, _LEASE, read_lease)]

    def tickets(self) -> list[Ticket]:
        """All tickets whose process isn't stopped; see `leases.ports.LeaseStore`."""
        self._refresh()
        records = _records(self._files, self._tickets, _TICKET, read_ticket)
        now_s, now_ns = time.time(), time.monotonic_ns()
        return [
            with_believed_start(ticket, now_ns - int((now_s - file.changed_s) * 1e9))
            for file, ticket in records
            if not is_stopped(ticket.pid)
        ]

    def somebody_waits(self, besides: str | None = None) -> bool:
        """See `leases.ports.LeaseStore`."""
        self._refresh()
        return bool(self._tickets) and self._tickets != {f"{besides}{_TICKET}"}

    def is_unchanged(self) -> bool:
        """See `leases.ports.LeaseStore`."""
        self._refresh()
        return self._leases == self._read_leases

    def _refresh(self) -> None:
        """List the files. There are no new ones while we alone allocate."""
        if self._is_alone:
            return
        names = self._files.names()
        if names is not self._names:
            self._names = names
            self._leases = frozenset(name for name in names if name.endswith(_LEASE))
            self._tickets = frozenset(name for name in names if name.endswith(_TICKET))

    @contextmanager
    def allocating(self) -> Iterator[None]:
        """See `leases.ports.LeaseStore`."""
        with self._lock:
            self._refresh()
            self._files.sweep(self._names)
            self._is_alone = self._lock.is_held
            try:
                yield
            finally:
                self._is_alone = False

    def confirm(self) -> bool:
        """See `leases.ports.LeaseStore`."""
        self._is_alone = False
        return self.is_unchanged()

    def remarks(self) -> list[str]:
        """See `leases.ports.LeaseStore`."""
        remarks, self._lock.remarks = self._lock.remarks, []
        return remarks

    def add_lease(
        self, request: LeaseRequest, kind: str, parent: str | None = None
    ) -> Held | None:
        """See `leases.ports.LeaseStore`."""
        name = _new_id()
        now_s = max(0.0, round(time.time(), 3))  # `leases.format` accepts no time before 1970
        record = LeaseRecord(
            id=name,
            uid=self.uid,
            user=user_name(self.uid),
            pid=os.getpid(),
            kind=kind,
            since_s=now_s,
            gpus=request.gpus,
            units=request.units,
            memory_mib=request.memory_mib,
            parent=parent,
            numbers=request.numbers,
            start_ticks=self._own_start_ticks(),
        )
        _check_gpu_count(request)
        content = lease_content(record)
        fd = self._files.add(name, _LEASE, content)
        self._leases |= {name + _LEASE}
        self._read_leases |= {name + _LEASE}  # our own changes don't count as changes
        path = os.path.join(self.path, name + _LEASE)
        turn_at = len(content) - len(turn_content(0))
        held = Held(Lease(record.token, fd), path, os.getpid(), 0, turn_at)
        try:
            if parent is None or any(lease.token == parent for lease in live_leases(self.path)):
                return held
        except BaseException:
            self.release(held)
            raise
        self.release(held)
        return None

    def _own_start_ticks(self) -> int:
        pid = os.getpid()
        if self._start[0] != pid:
            self._start = pid, start_ticks(pid) or 0
        return self._start[1]

    def pass_on(self, held: Held, besides: str | None = None) -> Held | None:
        """See `leases.ports.LeaseStore`.

        It works without the lock, which would double the cost of a lease for each short job. A
        program that takes a lease within this one adds its file and then reads the turn. Here the
        turn is written and then the names are read. So at least one of the two sees the other.
        """
        turn = held.turn + 1
        content = turn_content(turn)
        try:
            is_written = os.pwrite(held.lease.fd, content, held.turn_at) == len(content)
        except OSError:
            is_written = False
        if not is_written or self.somebody_waits(besides) or self._leases != self._read_leases:
            self.release(held)
            return None
        lease_id = held.lease.id.rpartition(":")[0]
        lease = Lease(token(lease_id, turn), held.lease.fd)
        return Held(lease, held.path, held.pid, turn, held.turn_at)

    def add_ticket(
        self, request: LeaseRequest, since_ns: int | None = None, inside: str | None = None
    ) -> tuple[Held, Ticket]:
        """See `leases.ports.LeaseStore`."""
        name = _new_id()
        since_ns = time.monotonic_ns() if since_ns is None else since_ns
        _check_gpu_count(request)
        user = user_name(self.uid)
        ticket = Ticket(name, self.uid, user, os.getpid(), since_ns, request, inside)
        fd = self._files.add(name, _TICKET, ticket_content(ticket))
        self._tickets |= {name + _TICKET}
        path = os.path.join(self.path, name + _TICKET)
        return Held(Lease(name, fd), path, os.getpid()), ticket

    def release(self, held: Held) -> None:
        """See `leases.ports.LeaseStore`."""
        if held.pid != os.getpid():  # we are a forked child: the lease is the parent's
            with suppress(OSError):
                os.close(held.lease.fd)
            return
        name = os.path.basename(held.path)
        self._files.end(held.lease.fd, name)
        self._read_leases -= {name}

    def watch(self) -> int | None:
        """See `leases.ports.LeaseStore`."""
        from simple_gpu_scheduler.system import inotify

        try:
            return inotify.watch_ends((f"/proc/self/fd/{self._files.folder.fd}",))
        except OSError:
            return None


def _check_gpu_count(request: LeaseRequest) -> None:
    """Check that other programs will accept the request.

    Raises:
        SgsError: it names more GPUs than they accept.
    """
    if len(request.gpus) > MOST_GPUS:
        raise SgsError(
            f"no GPU can be leased: {len(request.gpus)} are named, expected at most {MOST_GPUS}"
        )


def _new_id() -> str:
    """A new name that nobody can guess, so that nobody has put a file there."""
    return f"{os.getpid()}-{os.urandom(8).hex()}"


def live_leases(directory: str) -> list[LeaseRecord]:
    """The live leases in a directory; none if it doesn't exist.

    Raises:
        SgsError: it can't be read.
    """
    if not os.path.lexists(directory):
        return []
    files = LeaseFiles(directory, lambda path: open_lease_dir(path, make=False))
    return [lease for _, lease in _records(files, files.names(), _LEASE, read_lease)]


def _records(
    files: LeaseFiles, names: frozenset[str], ending: str, read: Read[Record]
) -> list[tuple[LiveFile, Record]]:
    records: list[tuple[LiveFile, Record]] = []
    for file in files.live(names, ending):
        try:
            records.append((file, read(file.name, file.uid, user_name(file.uid), file.content)))
        except ValueError:  # somebody else has put it there
            files.skip(file.name + ending)
    return records
