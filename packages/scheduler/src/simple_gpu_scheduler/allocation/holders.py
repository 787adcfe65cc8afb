"""Who has what of each GPU: the leases and tickets behind `leases.ledger.taken`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.leases.ledger import counted_gpus, reservations
from simple_gpu_scheduler.leases.records import LeaseRecord, Ticket

#: How many waiters, and how many programs that hold GPUs, a message names.
_MOST_WAITERS, _MOST_HOLDERS = 3, 16


class Holders(NamedTuple):
    """Who has a part of a GPU."""

    leases: tuple[LeaseRecord, ...] = ()
    tickets: tuple[Ticket, ...] = ()  #: the tickets for which it is reserved


def find_holders(
    leases: Sequence[LeaseRecord],
    tickets: Sequence[Ticket],
    inside: str | None = None,
    sizes_mib: Mapping[str, int] | None = None,
) -> dict[str, Holders]:
    """The holders of each GPU, by its key; see `leases.ledger.taken`.

    Args:
        tickets: the tickets before ours, in their order.
        inside: the token of the lease that we run in.
        sizes_mib: the memory of each GPU that all leases together may have, where it is known.
    """
    leases_by_gpu: dict[str, list[LeaseRecord]] = {}
    for lease, gpus in counted_gpus(leases, inside):
        for gpu in gpus:
            leases_by_gpu.setdefault(gpu, []).append(lease)
    tickets_by_gpu: dict[str, list[Ticket]] = {}
    for reserved in reservations(leases, tickets, inside=inside, sizes_mib=sizes_mib):
        for gpu in reserved.gpus:
            tickets_by_gpu.setdefault(gpu, []).append(reserved.ticket)
    return {
        gpu: Holders(tuple(leases_by_gpu.get(gpu, ())), tuple(tickets_by_gpu.get(gpu, ())))
        for gpu in leases_by_gpu.keys() | tickets_by_gpu.keys()
    }


def describe_leases(
    leases: Iterable[LeaseRecord], when: Callable[[float], str]
) -> tuple[str, ...]:
    """`anna's notebook (pid 41) since 14:02`; once for all leases of one program."""
    since_s: dict[tuple[str, str, int], float] = {}
    for lease in sorted(leases, key=lambda lease: (lease.since_s, lease.id)):
        since_s.setdefault((lease.user, lease.kind, lease.pid), lease.since_s)
    return tuple(
        f"{user}'s {kind} (pid {pid}) since {when(first_s)}"
        for (user, kind, pid), first_s in since_s.items()
    )


def describe_tickets(tickets: Iterable[Ticket]) -> tuple[str, ...]:
    """`bob (pid 7)`; once for all tickets of one program."""
    return tuple(dict.fromkeys(f"{ticket.user} (pid {ticket.pid})" for ticket in tickets))


def describe_holders(
    gpus: Mapping[str, str],
    leases: Iterable[LeaseRecord],
    tickets: Iterable[Ticket],
    when: Callable[[float], str],
) -> str:
    """Whom somebody waits for: "GPU 3 is leased by anna (job, pid 41) since 14:02".

    Args:
        gpus: the names of the GPUs in question, by their keys.
        when: renders a time on the wall clock.
    """
    programs: dict[tuple[str, str, int], list[LeaseRecord]] = {}
    for lease in leases:
        if not gpus.keys().isdisjoint(lease.gpus):
            programs.setdefault((lease.user, lease.kind, lease.pid), []).append(lease)
    parts = [
        f"{_names(gpus, {gpu for lease in held for gpu in lease.gpus})} leased by {user} "
        f"({kind}, pid {pid}) since {when(min(lease.since_s for lease in held))}"
        for (user, kind, pid), held in [*programs.items()][:_MOST_HOLDERS]
    ]
    if len(programs) > _MOST_HOLDERS:
        parts.append(f"and {len(programs) - _MOST_HOLDERS} more programs have leases on them")
    waiters = describe_tickets(
        ticket for ticket in tickets if not gpus.keys().isdisjoint(ticket.request.gpus)
    )
    if waiters:
        have = "has" if len(waiters) == 1 else "have"
        parts.append(f"{_join(waiters)} {have} waited for longer")
    return "; ".join(parts)


def _join(names: Sequence[str]) -> str:
    """The first names, and how many more there are: there may be dozens."""
    if len(names) <= _MOST_WAITERS:
        return " and ".join((", ".join(names[:-1]), names[-1]) if names[1:] else names)
    return f"{', '.join(names[:_MOST_WAITERS])} and {len(names) - _MOST_WAITERS} more"


def _names(gpus: Mapping[str, str], keys: Container[str]) -> str:
    names = [name for key, name in gpus.items() if key in keys]
    return f"GPU {names[0]} is" if len(names) == 1 else f"GPUs {', '.join(names)} are"
