"""A pretended machine on which programs take leases, public: nothing is written anywhere.

Each program has a `MemoryLeaseStore` of the same `MemoryMachine`. It passes the contract tests of
the real lease directory, so that what holds with it holds for real.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from simple_gpu_scheduler.leases.ports import Held
from simple_gpu_scheduler.leases.records import Lease, LeaseRecord, LeaseRequest, Ticket, token


class MemoryMachine:
    """What all programs see."""

    def __init__(self) -> None:
        self.leases: dict[str, LeaseRecord] = {}
        self.tickets: dict[str, Ticket] = {}
        self.lock = threading.Lock()
        self._count = 0

    def next_number(self) -> int:
        """Never the same twice; serves as a clock, too."""
        self._count += 1
        return self._count


class MemoryLeaseStore:
    """One program's view; implements `leases.ports.LeaseStore`."""

    def __init__(self, machine: MemoryMachine, *, uid: int = 1000, pid: int = 1) -> None:
        self.uid = uid
        self.pid = pid
        self._machine = machine
        self._seen: set[str] = set()

    def restore(self) -> None:
        """Nobody cleans up here."""

    def leases(self) -> list[LeaseRecord]:
        """All that live now."""
        self._seen = set(self._machine.leases)
        return list(self._machine.leases.values())

    def tickets(self) -> list[Ticket]:
        """All who wait now."""
        return list(self._machine.tickets.values())

    def somebody_waits(self, besides: str | None = None) -> bool:
        """False if nobody does, except for the ticket `besides`."""
        return bool(self._machine.tickets.keys() - {besides})

    def is_unchanged(self) -> bool:
        """True if no lease of others has come or gone since the last `leases`."""
        return self._seen == self._machine.leases.keys()

    @contextmanager
    def allocating(self) -> Iterator[None]:
        """Nobody else allocates meanwhile."""
        with self._machine.lock:
            yield

    def confirm(self) -> bool:
        """Nobody else could."""
        return self.is_unchanged()

    def remarks(self) -> list[str]:
        """Nothing is odd here."""
        return []

    def add_lease(self, want: LeaseRequest, kind: str, parent: str | None = None) -> Held | None:
        """Add a lease on all of `want.gpus`; None if the parent is over."""
        tokens = {one.token for one in self._machine.leases.values()}
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
            gpus=want.gpus,
            units=want.units,
            memory_mib=want.memory_mib,
            parent=parent,
            numbers=want.numbers,
        )
        self._seen.add(name)
        return Held(Lease(token(name, 0), -1), name, self.pid)

    def pass_on(self, held: Held, besides: str | None = None) -> Held | None:
        """The lease for the next job; over, if others have come or gone, or wait."""
        if self.somebody_waits(besides) or not self.is_unchanged():
            self.release(held)
            return None
        turn = held.turn + 1
        record = self._machine.leases[held.path]
        self._machine.leases[held.path] = record._replace(turn=turn)
        return held._replace(lease=Lease(token(held.path, turn), -1), turn=turn)

    def add_ticket(
        self, want: LeaseRequest, since_ns: int | None = None, inside: str | None = None
    ) -> tuple[Held, Ticket]:
        """Say that we wait."""
        name = self._new_id()
        since_ns = self._machine.next_number() if since_ns is None else since_ns
        ticket = Ticket(name, self.uid, str(self.uid), self.pid, since_ns, want, inside)
        self._machine.tickets[name] = ticket
        return Held(Lease(name, -1), name, self.pid), ticket

    def release(self, held: Held) -> None:
        """End a lease or a ticket."""
        self._seen.discard(held.path)
        self._machine.leases.pop(held.path, None)
        self._machine.tickets.pop(held.path, None)

    def watch(self) -> int | None:
        """Nothing wakes anybody: programs look again."""
        return None

    def _new_id(self) -> str:
        return f"{self.pid}-{self._machine.next_number()}"
