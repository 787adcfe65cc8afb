"""A GPU that lanes of one pool use together, under one lease."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from simple_gpu_scheduler.client import Taken
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.leases.ledger import overlaps
from simple_gpu_scheduler.leases.store import FileLeaseStore

#: A GPU that others wait for is given up between two calls, but not sooner: workers cost time.
_TURN_S = 60.0


class SharedGpu:
    """One GPU, leased while at least one of the pool's lanes uses it."""

    def __init__(self, request: Callable[[], Taken]) -> None:
        self._request = request
        self._changed = threading.Condition()
        self._users = 0
        self._taken: Taken | None = None
        self._turn_end_s = 0.0  # on the monotonic clock
        self._gives_way = False
        self._nested = LEASE_VARIABLE in os.environ

    def enter(self) -> Taken:
        """Use the GPU for one more lane; the first one waits until it can be leased."""
        with self._changed:
            self._changed.wait_for(lambda: not self._gives_way)
            if self._taken is None:
                self._taken = self._request()
                self._turn_end_s = time.monotonic() + _TURN_S
            self._users += 1
            return self._taken

    def leave(self) -> None:
        """Stop using the GPU; the last lane gives it back."""
        with self._changed:
            self._users -= 1
            if self._users == 0 and self._taken is not None:
                self._taken.release()
                self._taken = None
                self._gives_way = False
                self._changed.notify_all()

    def gives_way(self) -> bool:
        """True once our turn is over and others wait for the GPU: then all lanes must leave it.

        A lease inside another one never gives way: its GPU would not be free for others.
        """
        with self._changed:
            turn_is_over = time.monotonic() >= self._turn_end_s and not self._nested
            if turn_is_over and self._taken is not None and not self._gives_way:
                self._gives_way = _others_wait_for(self._taken)
            return self._gives_way


def _others_wait_for(taken: Taken) -> bool:
    """True if another program waits for a GPU that we have."""
    store = FileLeaseStore()
    if not store.somebody_waits():
        return False
    ours = [lease for lease in store.leases() if lease.token == taken.lease.id]
    others = [ticket for ticket in store.tickets() if ticket.pid != os.getpid()]
    return any(overlaps(lease, ticket.request) for lease in ours for ticket in others)
