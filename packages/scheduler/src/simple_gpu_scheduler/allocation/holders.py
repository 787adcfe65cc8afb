"""Who has what of each card: what `leasing.taken` sums up, one by one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.leases.ledger import LeaseRecord, Ticket, counted, promises


class Holders(NamedTuple):
    """Who has something of a card."""

    leases: tuple[LeaseRecord, ...] = ()
    tickets: tuple[Ticket, ...] = ()  #: of those who were promised it


def who_has(
    leases: Sequence[LeaseRecord],
    tickets: Sequence[Ticket],
    inside: str | None = None,
    sizes_mib: Mapping[str, int] | None = None,
) -> dict[str, Holders]:
    """Who has what, by the cards' keys; see `leasing.taken`.

    Args:
        tickets: those before us, in their order.
        inside: the token of the lease that we are in.
        sizes_mib: what leases may have of each card together, where that is known.
    """
    held: dict[str, list[LeaseRecord]] = {}
    for lease, gpus in counted(leases, inside):
        for gpu in gpus:
            held.setdefault(gpu, []).append(lease)
    promised: dict[str, list[Ticket]] = {}
    for one in promises(leases, tickets, inside=inside, sizes_mib=sizes_mib):
        for gpu in one.gpus:
            promised.setdefault(gpu, []).append(one.ticket)
    return {
        gpu: Holders(tuple(held.get(gpu, ())), tuple(promised.get(gpu, ())))
        for gpu in held.keys() | promised.keys()
    }


def describe_leases(
    leases: Iterable[LeaseRecord], when: Callable[[float], str]
) -> tuple[str, ...]:
    """`anna's notebook (pid 41) since 14:02`; once for all leases of one program."""
    since_s: dict[tuple[str, str, int], float] = {}
    for lease in sorted(leases, key=lambda one: (one.since_s, one.id)):
        since_s.setdefault((lease.user, lease.kind, lease.pid), lease.since_s)
    return tuple(
        f"{user}'s {kind} (pid {pid}) since {when(first_s)}"
        for (user, kind, pid), first_s in since_s.items()
    )


def describe_tickets(tickets: Iterable[Ticket]) -> tuple[str, ...]:
    """`bob (pid 7)`; once for all tickets of one program."""
    return tuple(dict.fromkeys(f"{one.user} (pid {one.pid})" for one in tickets))
