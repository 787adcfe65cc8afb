"""What a lease holder needs of the place where all programs of the machine keep their leases.

The real part is `leases.store`, the fake is in `testing.leases`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from simple_gpu_scheduler.leases.records import Lease, LeaseRecord, LeaseRequest, Ticket


class Held(NamedTuple):
    """A lease or ticket of ours."""

    lease: Lease
    path: str
    pid: int  #: the process that took it: no other one may end it
    turn: int = 0  #: see `LeaseRecord`
    turn_at: int = 0  #: where in the file that stands


class LeaseStore(Protocol):
    """All leases of the machine, and the only way to add one."""

    @property
    def uid(self) -> int:
        """Whose leases we add."""
        ...

    def restore(self) -> None:
        """Have the place again if it was cleaned away; only while nothing of ours is in it.

        Raises:
            SgsError: leases can't be kept there.
        """
        ...

    def leases(self) -> list[LeaseRecord]:
        """All that live now.

        Raises:
            SgsError: they can't be read.
        """
        ...

    def tickets(self) -> list[Ticket]:
        """All who wait now and could be served, in no order.

        Raises:
            SgsError: they can't be read.
        """
        ...

    def somebody_waits(self, besides: str | None = None) -> bool:
        """False if surely nobody does, except for the ticket `besides`; cheap.

        Raises:
            SgsError: that can't be known.
        """
        ...

    def is_unchanged(self) -> bool:
        """True if surely no lease of others has come or gone since the last `leases`; cheap.

        Raises:
            SgsError: that can't be known.
        """
        ...

    def allocating(self) -> AbstractContextManager[None]:
        """Others mostly add no lease meanwhile (see `confirm`); no signal of the terminal comes.

        Raises:
            SgsError: leases can't be kept there.
        """
        ...

    def confirm(self) -> bool:
        """After `add_lease`: True if surely nobody else has added one since `leases`.

        Who gets False looks again; if both don't fit, he takes his back. As each adds his own
        first and looks then, one of the two sees the other, whoever was first.

        Raises:
            SgsError: that can't be known.
        """
        ...

    def remarks(self) -> list[str]:
        """What the user should know by now, each once."""
        ...

    def add_lease(self, want: LeaseRequest, kind: str, parent: str | None = None) -> Held | None:
        """Add a lease on all of `want.gpus`; call it within `allocating`.

        Args:
            parent: the token of the lease that this one is a part of.

        Returns:
            None if the parent is over by now, or was passed on to the next job.

        Raises:
            SgsError: it can't be written or locked.
        """
        ...

    def pass_on(self, held: Held, besides: str | None = None) -> Held | None:
        """The lease for the next job, of which what was in it before is no part.

        Returns:
            None if there was a change meanwhile (see `is_unchanged`), somebody waits (see
            `somebody_waits`), or it can't be written; the lease is then over.
        """
        ...

    def add_ticket(
        self, want: LeaseRequest, since_ns: int | None = None, inside: str | None = None
    ) -> tuple[Held, Ticket]:
        """Say that we wait, from now or since then; call it within `allocating`.

        Args:
            inside: the token of the lease that we are in.

        Raises:
            SgsError: it can't be written or locked.
        """
        ...

    def release(self, held: Held) -> None:
        """End a lease or ticket, whoever else has inherited it; in a forked child, only let go."""
        ...

    def watch(self) -> int | None:
        """A descriptor that is readable once a lease or a ticket has ended; None: none is left."""
        ...
