"""A time limit for waiters that don't take what they could have. Pure.

GPUs are reserved for whoever waits. But a ticket is only a claim: its process may hang, or never
mean to take anything. So it keeps others waiting only for a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: Seconds for which a GPU stays reserved for a waiter that could have it. An honest program takes
#: it within milliseconds.
LIMIT_S = 30.0


class Waiting(NamedTuple):
    """A user who waits for a GPU. Time counts for the user: anybody can make new tickets."""

    uid: int
    gpu: str


class _Since(NamedTuple):
    at_s: float
    leases: frozenset[str]  #: the ones that the user had on the GPU then


class WaiterTimeouts:
    """How long each user could have had the GPUs that the user waits for."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._since: dict[Waiting, _Since] = {}
        #: Waiters whose time is over, with the leases that they had then. A new lease ends that.
        self._idle: dict[Waiting, frozenset[str]] = {}

    def timed_out(
        self, waiting: Mapping[Waiting, frozenset[str]], due: set[Waiting], now_s: float
    ) -> set[Waiting]:
        """The waiters for whom a GPU isn't reserved any more, until they take a lease on it.

        Args:
            waiting: each user who waits for a GPU, and the leases that the user has on it.
            due: the waiters that could have now all that one of their tickets asks for.
            now_s: seconds on a monotonic clock.
        """
        self._since = {
            waiter: self._since_when(waiter, leases, now_s)
            for waiter, leases in waiting.items()
            if waiter in due
        }
        for waiter, since in self._since.items():
            if now_s - since.at_s >= self._limit_s:
                self._idle.setdefault(waiter, waiting[waiter])
        served = [
            waiter
            for waiter, old_leases in self._idle.items()
            if not waiting.get(waiter, old_leases) <= old_leases
        ]
        for waiter in served:
            del self._idle[waiter]
        return self._idle.keys() & waiting.keys()

    def _since_when(self, waiter: Waiting, leases: frozenset[str], now_s: float) -> _Since:
        earlier = self._since.get(waiter)
        return earlier if earlier and leases <= earlier.leases else _Since(now_s, leases)
