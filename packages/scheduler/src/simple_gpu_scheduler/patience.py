"""Who waits and doesn't take what he could have keeps nobody waiting for long. Pure.

A ticket is a claim: its process may hang, or not mean to take anything.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

#: So long is a GPU kept for somebody who could have it. An honest program takes milliseconds.
LIMIT_S = 30.0


class _Since(NamedTuple):
    at_s: float
    leases: frozenset[str]  #: that the user had then


class Patience:
    """Since when which users could have had what they wait for."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._since: dict[int, _Since] = {}
        self._idle: dict[
            int, frozenset[str]
        ] = {}  # until they have a lease that isn't one of these

    def passed_over(
        self, waiting: Mapping[int, frozenset[str]], due: Container[int], now_s: float
    ) -> set[int]:
        """Users who are waited for no more, until they take something.

        It goes by user, as tickets are made anew at will.

        Args:
            waiting: the users who have tickets, and the leases that each of them has.
            due: those who could have at this moment all that a ticket of theirs asks for.
            now_s: on a clock that only goes on.
        """
        self._since = {
            uid: self._begun(uid, leases, now_s) for uid, leases in waiting.items() if uid in due
        }
        for uid, one in self._since.items():
            if now_s - one.at_s >= self._limit_s:
                self._idle.setdefault(uid, waiting[uid])
        taken = [
            uid for uid, before in self._idle.items() if not waiting.get(uid, before) <= before
        ]
        for uid in taken:
            del self._idle[uid]
        return self._idle.keys() & waiting.keys()

    def _begun(self, uid: int, leases: frozenset[str], now_s: float) -> _Since:
        before = self._since.get(uid)
        return before if before and leases <= before.leases else _Since(now_s, leases)
