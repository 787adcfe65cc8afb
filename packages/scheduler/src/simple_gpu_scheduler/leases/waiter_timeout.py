"""Who waits and doesn't take what he could have keeps nobody waiting for long. Pure.

A ticket is a claim: its process may hang, or not mean to take anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: So long is a GPU kept for somebody who could have it. An honest program takes milliseconds.
LIMIT_S = 30.0


class Waiting(NamedTuple):
    """A user waits for a GPU. It goes by user, as tickets are made anew at will."""

    uid: int
    gpu: str


class _Since(NamedTuple):
    at_s: float
    leases: frozenset[str]  #: that the user had on the GPU then


class WaiterTimeouts:
    """Since when which users could have had the GPUs that they wait for."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._since: dict[Waiting, _Since] = {}
        self._idle: dict[
            Waiting, frozenset[str]
        ] = {}  # until there is a lease that isn't one of these

    def passed_over(
        self, waiting: Mapping[Waiting, frozenset[str]], due: set[Waiting], now_s: float
    ) -> set[Waiting]:
        """Those for whom a GPU is kept no more, until they take a lease on it.

        Args:
            waiting: who waits for which GPU, and the leases that he has on it.
            due: those who could have at this moment all that a ticket of theirs asks for.
            now_s: on a clock that only goes on.
        """
        self._since = {
            one: self._begun(one, leases, now_s) for one, leases in waiting.items() if one in due
        }
        for one, since in self._since.items():
            if now_s - since.at_s >= self._limit_s:
                self._idle.setdefault(one, waiting[one])
        taken = [one for one, had in self._idle.items() if not waiting.get(one, had) <= had]
        for one in taken:
            del self._idle[one]
        return self._idle.keys() & waiting.keys()

    def _begun(self, one: Waiting, leases: frozenset[str], now_s: float) -> _Since:
        before = self._since.get(one)
        return before if before and leases <= before.leases else _Since(now_s, leases)
