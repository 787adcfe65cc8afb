"""Leases as locked files: no daemon, no root, any number of users.

A lease is a small file on which its owner's processes hold a lock; it lives as long as the lock.
The job inherits the descriptor, so the kernel itself ends the lease when the last process that
holds it is gone, whoever crashed before. The directory itself is locked while one allocator reads
all leases and adds its own. As anybody can lock it, no safety comes of that: who adds a lease
looks again afterwards, and takes it back if somebody else has added one meanwhile.

Users of one machine can delay each other, but nobody can remove or change a file of another user,
and what a file says of its owner is not believed: the file system tells that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.leases.directory import lease_dir, open_lease_dir
from simple_gpu_scheduler.leases.directory_lock import PATIENCE_S, DirectoryLock
from simple_gpu_scheduler.leases.files import LeaseFiles, LiveFile
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
from simple_gpu_scheduler.leases.ledger import believed
from simple_gpu_scheduler.leases.ports import Held
from simple_gpu_scheduler.leases.records import Lease, LeaseRecord, LeaseRequest, Ticket, token
from simple_gpu_scheduler.system.proc import is_stopped, start_ticks
from simple_gpu_scheduler.system.users import user_name

_LEASE, _TICKET = ".lease", ".ticket"


class FileLeaseStore:
    """Implements `leases.ports.LeaseStore`."""

    def __init__(self, path: str | None = None, *, patience_s: float = PATIENCE_S) -> None:
        """Open the directory, $SGS_LEASE_DIR or the machine's.

        Args:
            patience_s: how long to wait for one who has the directory locked.

        Raises:
            SgsError: leases can't be kept there.
        """
        self.path = lease_dir() if path is None else path
        self._files = LeaseFiles(self.path, open_lease_dir)
        self.uid = os.geteuid()
        self._names: frozenset[str] = frozenset()  # as last listed, and of these
        self._leases: frozenset[str] = frozenset()
        self._tickets: frozenset[str] = frozenset()
        self._seen: frozenset[str] = frozenset()  # those when the leases were last read
        self._lock = DirectoryLock(self._files, patience_s)
        self._alone = False  # nobody else adds a file meanwhile
        self._start = (0, 0)  # our pid, and when it was started

    def restore(self) -> None:
        """See `leases.ports.LeaseStore`."""
        if not os.path.isdir(self.path):
            open_lease_dir(self.path).close()

    def leases(self) -> list[LeaseRecord]:
        """All that live now; see `leases.ports.LeaseStore`."""
        self._refresh()
        self._seen = self._leases
        return [one for _, one in _records(self._files, self._seen, _LEASE, read_lease)]

    def tickets(self) -> list[Ticket]:
        """All who wait and aren't stopped; see `leases.ports.LeaseStore`."""
        self._refresh()
        found = _records(self._files, self._tickets, _TICKET, read_ticket)
        now_s, now_ns = time.time(), time.monotonic_ns()
        return [
            believed(one, now_ns - int((now_s - file.changed_s) * 1e9))
            for file, one in found
            if not is_stopped(one.pid)
        ]

    def somebody_waits(self, besides: str | None = None) -> bool:
        """See `leases.ports.LeaseStore`."""
        self._refresh()
        return bool(self._tickets) and self._tickets != {f"{besides}{_TICKET}"}

    def is_unchanged(self) -> bool:
        """See `leases.ports.LeaseStore`."""
        self._refresh()
        return self._leases == self._seen

    def _refresh(self) -> None:
        """See which files there are; while we alone allocate there come no others."""
        if self._alone:
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
            self._alone = self._lock.is_held
            try:
                yield
            finally:
                self._alone = False

    def confirm(self) -> bool:
        """See `leases.ports.LeaseStore`."""
        self._alone = False
        return self.is_unchanged()

    def remarks(self) -> list[str]:
        """See `leases.ports.LeaseStore`."""
        remarks, self._lock.remarks = self._lock.remarks, []
        return remarks

    def add_lease(self, want: LeaseRequest, kind: str, parent: str | None = None) -> Held | None:
        """See `leases.ports.LeaseStore`."""
        name, now_s = _new_id(), max(0.0, round(time.time(), 3))  # as `leases.format` reads it
        record = LeaseRecord(
            id=name,
            uid=self.uid,
            user=user_name(self.uid),
            pid=os.getpid(),
            kind=kind,
            since_s=now_s,
            gpus=want.gpus,
            units=want.units,
            memory_mib=want.memory_mib,
            parent=parent,
            numbers=want.numbers,
            start_ticks=self._own_start_ticks(),
        )
        _check_number(want)
        content = lease_content(record)
        fd = self._files.add(name, _LEASE, content)
        self._leases |= {name + _LEASE}
        self._seen |= {name + _LEASE}  # what we ourselves add or remove is no news
        path = os.path.join(self.path, name + _LEASE)
        turn_at = len(content) - len(turn_content(0))
        held = Held(Lease(record.token, fd), path, os.getpid(), 0, turn_at)
        try:
            if parent is None or any(one.token == parent for one in live_leases(self.path)):
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

        Without the lock, which would cost each short job as much as all the rest of its lease. Who
        takes one within this lease adds his file and then reads the turn; here the turn is written
        and then the names are read. So one of the two sees the other, whoever was first.
        """
        turn = held.turn + 1
        content = turn_content(turn)
        try:
            written = os.pwrite(held.lease.fd, content, held.turn_at) == len(content)
        except OSError:
            written = False
        if not written or self.somebody_waits(besides) or self._leases != self._seen:
            self.release(held)
            return None
        lease_id = held.lease.id.rpartition(":")[0]
        lease = Lease(token(lease_id, turn), held.lease.fd)
        return Held(lease, held.path, held.pid, turn, held.turn_at)

    def add_ticket(
        self, want: LeaseRequest, since_ns: int | None = None, inside: str | None = None
    ) -> tuple[Held, Ticket]:
        """See `leases.ports.LeaseStore`."""
        name = _new_id()
        since_ns = time.monotonic_ns() if since_ns is None else since_ns
        _check_number(want)
        ticket = Ticket(name, self.uid, user_name(self.uid), os.getpid(), since_ns, want, inside)
        fd = self._files.add(name, _TICKET, ticket_content(ticket))
        self._tickets |= {name + _TICKET}
        path = os.path.join(self.path, name + _TICKET)
        return Held(Lease(name, fd), path, os.getpid()), ticket

    def release(self, held: Held) -> None:
        """See `leases.ports.LeaseStore`."""
        if held.pid != os.getpid():  # a forked child: the lease is its parent's
            with suppress(OSError):
                os.close(held.lease.fd)
            return
        name = os.path.basename(held.path)
        self._files.end(held.lease.fd, name)
        self._seen -= {name}

    def watch(self) -> int | None:
        """See `leases.ports.LeaseStore`."""
        from simple_gpu_scheduler.system import inotify

        try:
            return inotify.watch_ends((f"/proc/self/fd/{self._files.folder.fd}",))
        except OSError:
            return None


def _check_number(want: LeaseRequest) -> None:
    """See that others will take it for what it is.

    Raises:
        SgsError: there are more GPUs than they would believe.
    """
    if len(want.gpus) > MOST_GPUS:
        raise SgsError(
            f"no GPU can be leased: {len(want.gpus)} are named; expected {MOST_GPUS} at most"
        )


def _new_id() -> str:
    """A name that nobody can have guessed, and put something there."""
    return f"{os.getpid()}-{os.urandom(8).hex()}"


def live_leases(directory: str) -> list[LeaseRecord]:
    """The leases in a directory, which need not exist.

    Raises:
        SgsError: it can't be read.
    """
    if not os.path.lexists(directory):
        return []
    files = LeaseFiles(directory, lambda path: open_lease_dir(path, make=False))
    return [one for _, one in _records(files, files.names(), _LEASE, read_lease)]


def _records(
    files: LeaseFiles, names: frozenset[str], ending: str, read: Read[Record]
) -> list[tuple[LiveFile, Record]]:
    found: list[tuple[LiveFile, Record]] = []
    for one in files.live(names, ending):
        try:
            found.append((one, read(one.name, one.uid, user_name(one.uid), one.content)))
        except ValueError:  # somebody has put it there; it is no lease
            files.pass_over(one.name + ending)
    return found
