"""What an allocator needs of the place where all programs of the machine keep their leases.

`leases.store` implements it. The fake for tests is in `testing.leases`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from simple_gpu_scheduler.leases.records import Lease, LeaseRecord, LeaseRequest, Ticket


class Held(NamedTuple):
    """A lease or ticket of ours."""

    lease: Lease
    path: str
    pid: int  #: the process that took it; only that one may end it
    turn: int = 0  #: see `LeaseRecord`
    turn_at: int = 0  #: the place of the turn in the file, in bytes


class LeaseStore(Protocol):
    """All leases of the machine, and the only way to add one."""

    @property
    def uid(self) -> int:
        """The user id of the owner of leases that are added here."""
        ...

    def restore(self) -> None:
        """Create the place again if it was removed. Call it only while nothing of ours is there.

        Raises:
            SgsError: leases can't be kept there.
        """
        ...

    def leases(self) -> list[LeaseRecord]:
        """All live leases.

        Raises:
            SgsError: they can't be read.
        """
        ...

    def tickets(self) -> list[Ticket]:
        """The tickets of all who wait and could be served now, in no order.

        Raises:
            SgsError: they can't be read.
        """
        ...

    def somebody_waits(self, besides: str | None = None) -> bool:
        """False if certainly nobody waits, except for the ticket `besides`. Cheap.

        Raises:
            SgsError: that can't be known.
        """
        ...

    def is_unchanged(self) -> bool:
        """True if certainly no lease of others was added or ended since the last `leases`. Cheap.

        Raises:
            SgsError: that can't be known.
        """
        ...

    def allocating(self) -> AbstractContextManager[None]:
        """A block in which others rarely add leases (see `confirm`) and terminal signals wait.

        Raises:
            SgsError: leases can't be kept there.
        """
        ...

    def confirm(self) -> bool:
        """True if certainly nobody else has added a lease since `leases`. Call after `add_lease`.

        After False, read the leases again, and release the new lease if it doesn't fit beside
        another one. Each program adds its lease first and then checks, so of two programs at
        least one sees the other's lease.

        Raises:
            SgsError: that can't be known.
        """
        ...

    def remarks(self) -> list[str]:
        """New messages for the user, each returned once."""
        ...

    def add_lease(
        self, request: LeaseRequest, kind: str, parent: str | None = None
    ) -> Held | None:
        """Add a lease on all of `request.gpus`. Call it within `allocating`.

        Args:
            parent: the token of the lease that this one is a part of.

        Returns:
            None if the parent has ended, or was passed on to the next job.

        Raises:
            SgsError: it can't be written or locked.
        """
        ...

    def pass_on(self, held: Held, besides: str | None = None) -> Held | None:
        """The lease for the next job. Leases within it don't belong to that job.

        Returns:
            None, with the lease ended, if other leases have changed (see `is_unchanged`), if
            somebody waits (see `somebody_waits`), or if the file can't be written.
        """
        ...

    def add_ticket(
        self, request: LeaseRequest, since_ns: int | None = None, inside: str | None = None
    ) -> tuple[Held, Ticket]:
        """Add a ticket: we wait, since `since_ns` or from now on. Call it within `allocating`.

        Args:
            inside: the token of the lease that we run in.

        Raises:
            SgsError: it can't be written or locked.
        """
        ...

    def release(self, held: Held) -> None:
        """End a lease or ticket, even if others have inherited it.

        A forked child only closes its descriptor: the lease is its parent's.
        """
        ...

    def watch(self) -> int | None:
        """A descriptor that gets readable when a lease or ticket ends; None if none can be had."""
        ...
