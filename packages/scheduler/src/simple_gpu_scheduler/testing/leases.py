"""A fake of the folder with all leases of a machine, in memory.

Make one `MemoryMachine`, and a `MemoryLeaseStore` on it for each program of the test.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from simple_gpu_scheduler.leases.ports import Held
from simple_gpu_scheduler.leases.records import Lease, LeaseRecord, LeaseRequest, Ticket, token


class MemoryMachine:
    """The leases and tickets of one machine, shared by its programs."""

    def __init__(self) -> None:
        self.leases: dict[str, LeaseRecord] = {}  #: by id
        self.tickets: dict[str, Ticket] = {}  #: by id
        self.lock = threading.Lock()
        self._count = 0

    def next_number(self) -> int:
        """The next number, from 1; it also serves as a clock."""
        self._count += 1
        return self._count


class MemoryLeaseStore:
    """The leases as one program sees them; implements `leases.ports.LeaseStore`."""

    def __init__(self, machine: MemoryMachine, *, uid: int = 1000, pid: int = 1) -> None:
        """`uid` and `pid` are the user and the process of this program."""
        self.uid = uid
        self.pid = pid
        self._machine = machine
        self._last_ids: set[str] = set()  # of leases: our own, and those at the last `leases`

    def restore(self) -> None:
        """Do nothing: memory needs no repair."""

    def leases(self) -> list[LeaseRecord]:
        """All leases of the machine."""
        self._last_ids = set(self._machine.leases)
        return list(self._machine.leases.values())

    def tickets(self) -> list[Ticket]:
        """All tickets of the machine."""
        return list(self._machine.tickets.values())

    def somebody_waits(self, besides: str | None = None) -> bool:
        """True if there is a ticket, not counting `besides`."""
        return bool(self._machine.tickets.keys() - {besides})

    def is_unchanged(self) -> bool:
        """True if no lease of others has come or gone since the last `leases`."""
        return self._last_ids == self._machine.leases.keys()

    @contextmanager
    def allocating(self) -> Iterator[None]:
        """Lock out all other programs that allocate, for a `with` block."""
        with self._machine.lock:
            yield

    def confirm(self) -> bool:
        """True if no lease of others has come or gone since the last `leases`."""
        return self.is_unchanged()

    def remarks(self) -> list[str]:
        """No messages: nothing goes wrong in memory."""
        return []

    def add_lease(
        self, request: LeaseRequest, kind: str, parent: str | None = None
    ) -> Held | None:
        """Add a lease on all of `request.gpus`; None if the parent is over."""
        tokens = {lease.token for lease in self._machine.leases.values()}
        if parent is not None and parent not in tokens:
            return None
        name = self._new_id()
        self._machine.leases[name] = LeaseRecord(
            id=name,
            uid=self.uid,
            user=str(self.uid),
            pid=self.pid,
            kind=kind,
            since_s=float(self._machine.next_number()),
            gpus=request.gpus,
            units=request.units,
            memory_mib=request.memory_mib,
            parent=parent,
            numbers=request.numbers,
        )
        self._last_ids.add(name)
        return Held(Lease(token(name, 0), -1), name, self.pid)

    def pass_on(self, held: Held, besides: str | None = None) -> Held | None:
        """The lease for the next job; if others wait, or leases have changed, end it: None."""
        if self.somebody_waits(besides) or not self.is_unchanged():
            self.release(held)
            return None
        turn = held.turn + 1
        record = self._machine.leases[held.path]
        self._machine.leases[held.path] = record._replace(turn=turn)
        return held._replace(lease=Lease(token(held.path, turn), -1), turn=turn)

    def add_ticket(
        self, request: LeaseRequest, since_ns: int | None = None, inside: str | None = None
    ) -> tuple[Held, Ticket]:
        """Add a ticket: this program waits for `request`."""
        name = self._new_id()
        since_ns = self._machine.next_number() if since_ns is None else since_ns
        ticket = Ticket(name, self.uid, str(self.uid), self.pid, since_ns, request, inside)
        self._machine.tickets[name] = ticket
        return Held(Lease(name, -1), name, self.pid), ticket

    def release(self, held: Held) -> None:
        """End a lease or a ticket."""
        self._last_ids.discard(held.path)
        self._machine.leases.pop(held.path, None)
        self._machine.tickets.pop(held.path, None)

    def watch(self) -> int | None:
        """None: there is no descriptor to wait on, and programs poll."""
        return None

    def _new_id(self) -> str:
        return f"{self.pid}-{self._machine.next_number()}"
