"""Leases as locked files: no daemon, no root, any number of users.

A lease is a small file on which flock(2) holds an exclusive lock; it lives as long as the lock.
The job inherits the descriptor, so the kernel itself ends the lease when the last process that
holds it is gone, whoever crashed before. The directory itself is locked while one allocator reads
all leases and adds its own.

Users of one machine can delay each other, but nobody can remove or change a file of another user,
and what a file says of its owner is not believed: the file system tells that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from simple_gpu_scheduler.adapters.directory_lock import PATIENCE_S, DirectoryLock
from simple_gpu_scheduler.adapters.lease_dir import lease_dir, open_lease_dir
from simple_gpu_scheduler.adapters.lease_files import (
    Listing,
    add_file,
    end_file,
    live_files,
    sweep,
)
from simple_gpu_scheduler.adapters.process_tree import is_stopped
from simple_gpu_scheduler.adapters.users import user_name
from simple_gpu_scheduler.lease_format import (
    Read,
    Record,
    lease_content,
    read_lease,
    read_ticket,
    ticket_content,
    turn_content,
)
from simple_gpu_scheduler.lease_ports import Held
from simple_gpu_scheduler.leasing import LeaseRecord, Ticket, Want, token
from simple_gpu_scheduler.ports import Lease

_LEASE, _TICKET = ".lease", ".ticket"


class LeaseDir:
    """Implements `lease_ports.LeaseBook`."""

    def __init__(self, path: str | None = None, *, patience_s: float = PATIENCE_S) -> None:
        """Open the directory, $SGS_LEASE_DIR or the machine's.

        Args:
            patience_s: how long to wait for one who allocates and doesn't end.

        Raises:
            SgsError: leases can't be kept there.
        """
        self.path = lease_dir() if path is None else path
        open_lease_dir(self.path)
        self.uid = os.geteuid()
        self._count = 0
        self._listing = Listing(self.path)
        self._names: frozenset[str] = frozenset()  # as last listed, and of these
        self._leases: frozenset[str] = frozenset()
        self._tickets: frozenset[str] = frozenset()
        self._seen: frozenset[str] = frozenset()  # those when the leases were last read
        self._lock = DirectoryLock(self.path, patience_s)
        self._alone = False  # nobody else adds a file meanwhile

    def restore(self) -> None:
        """See `lease_ports.LeaseBook`."""
        if not os.path.isdir(self.path):
            open_lease_dir(self.path)

    def leases(self) -> list[LeaseRecord]:
        """All that live now; see `lease_ports.LeaseBook`."""
        self._look()
        self._seen = self._leases
        return _live(self.path, self._seen, _LEASE, read_lease)

    def tickets(self) -> list[Ticket]:
        """All who wait and aren't stopped; see `lease_ports.LeaseBook`."""
        self._look()
        found = _live(self.path, self._tickets, _TICKET, read_ticket)
        return [one for one in found if not is_stopped(one.pid)]

    def somebody_waits(self, besides: str | None = None) -> bool:
        """See `lease_ports.LeaseBook`."""
        self._look()
        return bool(self._tickets) and self._tickets != {f"{besides}{_TICKET}"}

    def is_unchanged(self) -> bool:
        """See `lease_ports.LeaseBook`."""
        self._look()
        return self._leases == self._seen

    def _look(self) -> None:
        """See which files there are; while we allocate there come no others."""
        if self._alone:
            return
        names = self._listing.names()
        if names is not self._names:
            self._names = names
            self._leases = frozenset(name for name in names if name.endswith(_LEASE))
            self._tickets = frozenset(name for name in names if name.endswith(_TICKET))

    @contextmanager
    def allocating(self) -> Iterator[None]:
        """See `lease_ports.LeaseBook`."""
        with self._lock:
            self._look()
            sweep(self.path, self._names)
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    def add_lease(self, want: Want, kind: str, parent: str | None = None) -> Held | None:
        """See `lease_ports.LeaseBook`."""
        name, now_s = self._new_id(), max(0.0, round(time.time(), 3))  # as `lease_format` reads it
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
        )
        content = lease_content(record)
        fd = add_file(self.path, name, _LEASE, content)
        self._leases |= {name + _LEASE}
        self._seen |= {name + _LEASE}  # what we ourselves add or remove is no news
        path = os.path.join(self.path, name + _LEASE)
        turn_at = len(content) - len(turn_content(0))
        held = Held(Lease(record.token, fd), path, os.getpid(), 0, turn_at)
        if parent is not None and all(one.token != parent for one in live_leases(self.path)):
            self.release(held)
            return None
        return held

    def pass_on(self, held: Held, besides: str | None = None) -> Held | None:
        """See `lease_ports.LeaseBook`.

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
        self, want: Want, since_ns: int | None = None, inside: str | None = None
    ) -> tuple[Held, Ticket]:
        """See `lease_ports.LeaseBook`."""
        name = self._new_id()
        since_ns = time.monotonic_ns() if since_ns is None else since_ns
        ticket = Ticket(name, self.uid, user_name(self.uid), os.getpid(), since_ns, want, inside)
        fd = add_file(self.path, name, _TICKET, ticket_content(ticket))
        self._tickets |= {name + _TICKET}
        path = os.path.join(self.path, name + _TICKET)
        return Held(Lease(name, fd), path, os.getpid()), ticket

    def release(self, held: Held) -> None:
        """See `lease_ports.LeaseBook`."""
        if held.pid != os.getpid():  # a forked child: the lease is its parent's
            with suppress(OSError):
                os.close(held.lease.fd)
            return
        end_file(held.lease.fd, held.path)
        self._seen -= {os.path.basename(held.path)}

    def watch(self) -> int | None:
        """See `lease_ports.LeaseBook`."""
        from simple_gpu_scheduler.adapters import inotify  # costs time, and few ever wait

        try:
            return inotify.watch_ends((self.path,))
        except OSError:
            return None

    def _new_id(self) -> str:
        self._count += 1
        return f"{os.getpid()}-{time.time_ns():x}-{self._count}"


def live_leases(directory: str) -> list[LeaseRecord]:
    """The leases in a directory, which need not exist.

    Raises:
        SgsError: it can't be read.
    """
    if not os.path.exists(directory):
        return []
    return _live(directory, Listing(directory).names(), _LEASE, read_lease)


def _live(folder: str, names: Iterable[str], ending: str, read: Read[Record]) -> list[Record]:
    found: list[Record] = []
    for one in live_files(folder, names, ending):
        with suppress(ValueError):  # somebody has put it there; it is no lease
            found.append(read(one.name, one.uid, user_name(one.uid), one.content))
    return found
