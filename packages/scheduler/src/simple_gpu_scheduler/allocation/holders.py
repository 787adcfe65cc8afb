"""Who has what of each card: what `leases.ledger.taken` sums up, one by one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.leases.ledger import counted_gpus, reservations
from simple_gpu_scheduler.leases.records import LeaseRecord, Ticket


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
    """Who has what, by the cards' keys; see `leases.ledger.taken`.

    Args:
        tickets: those before us, in their order.
        inside: the token of the lease that we are in.
        sizes_mib: what leases may have of each card together, where that is known.
    """
    held: dict[str, list[LeaseRecord]] = {}
    for lease, gpus in counted_gpus(leases, inside):
        for gpu in gpus:
            held.setdefault(gpu, []).append(lease)
    promised: dict[str, list[Ticket]] = {}
    for one in reservations(leases, tickets, inside=inside, sizes_mib=sizes_mib):
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


#: Of those who wait before somebody, and of those who hold what he waits for.
_MOST_NAMED, _MOST_TOLD = 3, 16


def describe_holders(
    gpus: Mapping[str, str],
    leases: Iterable[LeaseRecord],
    tickets: Iterable[Ticket],
    when: Callable[[float], str],
) -> str:
    """Whom somebody waits for, in words: "GPU 3 is held by anna (job, pid 41) since 14:02".

    Args:
        gpus: the keys of the GPUs in question, and how to call them.
        when: renders a time on the wall clock.
    """
    held: dict[tuple[str, str, int], list[LeaseRecord]] = {}
    for lease in leases:
        if not gpus.keys().isdisjoint(lease.gpus):
            held.setdefault((lease.user, lease.kind, lease.pid), []).append(lease)
    parts = [
        f"{_names(gpus, {gpu for one in theirs for gpu in one.gpus})} held by {user} "
        f"({kind}, pid {pid}) since {when(min(one.since_s for one in theirs))}"
        for (user, kind, pid), theirs in [*held.items()][:_MOST_TOLD]
    ]
    if len(held) > _MOST_TOLD:
        parts.append(f"and {len(held) - _MOST_TOLD} more programs hold them")
    first = [one for one in tickets if not gpus.keys().isdisjoint(one.request.gpus)]
    waiters = tuple(dict.fromkeys(f"{one.user} (pid {one.pid})" for one in first))
    if waiters:
        have = "has" if len(waiters) == 1 else "have"
        parts.append(f"{_some(waiters)} {have} waited for longer")
    return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    """The first ones by name, and how many more: there may be dozens."""
    if len(names) <= _MOST_NAMED:
        return " and ".join((", ".join(names[:-1]), names[-1]) if names[1:] else names)
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"


def _names(gpus: Mapping[str, str], keys: Container[str]) -> str:
    names = [name for key, name in gpus.items() if key in keys]
    return f"GPU {names[0]} is" if len(names) == 1 else f"GPUs {', '.join(names)} are"
