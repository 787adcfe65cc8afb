"""Leases as records, and what they leave of each GPU.

A lease gives its holder a share of some GPUs; the sum of the shares never goes beyond a card.
Everything here is arithmetic on records; the locked files are in `leases.store`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import GpuShare, LeaseRecord, LeaseRequest, Ticket

_MOST_CLAIM_NS = 60 * 10**9


class Reserved(NamedTuple):
    """What a waiter will get once it is free."""

    ticket: Ticket
    gpus: tuple[str, ...]  #: keys
    is_due: bool  #: leases and those before him leave him all of these now


def as_ours(
    gpus: Sequence[str],
    numbers: Sequence[str],
    ours: Container[str],
    uuids: Mapping[str, Sequence[str]],
) -> tuple[str, ...]:
    """Somebody's keys as we call the cards, whether he or we know the driver or not.

    Args:
        numbers: of those cards, see `LeaseRequest`.
        ours: our own keys.
        uuids: by number, where we know the driver: of the card, or of all slices of it.
    """
    found: dict[str, None] = {}
    for gpu, number in zip_longest(gpus, numbers[: len(gpus)], fillvalue=""):
        if gpu in ours:
            found[gpu] = None
        elif number in ours:
            found[number] = None
        else:
            found.update(dict.fromkeys(uuids.get(gpu, (gpu,))))
    return tuple(found)


def meet(lease: LeaseRecord, want: LeaseRequest) -> bool:
    """Whether somebody wants what somebody has, by whatever names they know it."""
    theirs = {*want.gpus, *want.numbers} - {""}
    return not theirs.isdisjoint((*lease.gpus, *lease.numbers))


def may_be_within(uid: int, parent: LeaseRecord) -> bool:
    """Whether a user's programs can be a part of that lease: it is his, or he is root."""
    return uid in (parent.uid, 0)


def share_of(units: int, parent: LeaseRecord | None) -> int:
    """A share of a lease as a share of the card: within a third of it, half of that is a sixth."""
    return units if parent is None else max(1, units * parent.units // GPU_UNITS)


def taken(
    leases: Sequence[LeaseRecord],
    tickets: Iterable[Ticket] = (),
    *,
    ours: Container[str] = (),
    inside: str | None = None,
    sizes_mib: Mapping[str, int] | None = None,
) -> dict[str, GpuShare]:
    """What others have taken of each card, by leases and by waiting before us.

    A lease within another one is paid for by that one; once that is over, or its job, it counts by
    itself. Seen from inside a lease (a scheduler that runs as a job of another one), that lease is
    all there is of its cards: only what is within the same lease counts there, or was within one
    that is over, in parts of that lease.

    Args:
        tickets: those before us, in their order; each is promised the cards that are nearest to
            having room for it, so that nothing more starts there.
        ours: the tokens of the leases that we hold.
        inside: the token of the lease that we are in.
        sizes_mib: what leases may have of each card together, where that is known.
    """
    theirs = _held(leases, inside, besides=ours)
    for one in reservations(leases, tickets, inside=inside, sizes_mib=sizes_mib):
        for gpu in one.gpus:
            _add(theirs, gpu, one.ticket.want.units, one.ticket.want.memory_mib)
    return theirs


def reservations(
    leases: Sequence[LeaseRecord],
    tickets: Iterable[Ticket],
    *,
    inside: str | None = None,
    sizes_mib: Mapping[str, int] | None = None,
) -> list[Reserved]:
    """What those who wait before us will get, see `taken`."""
    tickets = tuple(tickets)
    if not tickets:
        return []
    everybody, sizes = _held(leases, inside), sizes_mib or {}
    by_token = {lease.token: lease for lease in leases}
    own = _own_gpus(by_token, inside)
    found: list[Reserved] = []
    for ticket in tickets:
        want = ticket.want
        gpus = _promised(want, everybody, _closed_to(ticket, by_token, own, inside), sizes)
        due = bool(gpus) and all(_lack(want, everybody, sizes, gpu)[0] == 0 for gpu in gpus)
        found.append(Reserved(ticket, tuple(gpus), due))
        for gpu in gpus:
            _add(everybody, gpu, want.units, want.memory_mib)
    return found


def _held(
    leases: Sequence[LeaseRecord], inside: str | None, besides: Container[str] = ()
) -> dict[str, GpuShare]:
    """What leases have of each card; see `taken`."""
    enclosing = {lease.token: lease for lease in leases}.get(inside or "")
    own = () if enclosing is None else enclosing.gpus
    found: dict[str, GpuShare] = {}
    for lease, gpus in counted(leases, inside):
        if lease.token not in besides:
            for gpu in gpus:
                part = _part(lease.units, enclosing) if gpu in own else lease.units
                _add(found, gpu, part, lease.memory_mib)
    return found


def counted(
    leases: Sequence[LeaseRecord], inside: str | None
) -> Iterator[tuple[LeaseRecord, list[str]]]:
    """Each lease with the cards of which it takes something; see `taken`."""
    by_token = {lease.token: lease for lease in leases}
    own = _own_gpus(by_token, inside)
    for lease in by_token.values():
        yield lease, list(_counted(lease, by_token, own, inside))


def _own_gpus(by_token: Mapping[str, LeaseRecord], inside: str | None) -> set[str]:
    enclosing = by_token.get(inside or "")
    return set() if enclosing is None else set(enclosing.gpus)


def _part(units: int, enclosing: LeaseRecord | None) -> int:
    """A share of a card as a part of the lease that we are in, rounded up."""
    return units if enclosing is None else -(-units * GPU_UNITS // enclosing.units)


def _closed_to(
    ticket: Ticket, by_token: Mapping[str, LeaseRecord], own: set[str], inside: str | None
) -> set[str]:
    """Cards that aren't promised to a waiter: those of a lease that one of us is in, alone."""
    theirs = by_token.get(ticket.inside or "")
    if theirs is not None and not may_be_within(ticket.uid, theirs):
        theirs = None
    elif ticket.inside == inside:
        return set()
    return own if theirs is None else own.union(theirs.gpus)


def _counted(
    lease: LeaseRecord,
    by_token: Mapping[str, LeaseRecord],
    own: Container[str],
    inside: str | None,
) -> Iterator[str]:
    """The cards of which the lease takes something."""
    if inside is not None and lease.token == inside:
        return
    parent = None if lease.parent is None else by_token.get(lease.parent)
    if parent is not None and not may_be_within(lease.uid, parent):
        parent = None
    around = by_token.get(inside or "")
    orphan = (  # of ours: who may not be in our lease was never in one within it
        lease.parent is not None
        and parent is None
        and (around is None or may_be_within(lease.uid, around))
    )
    for gpu in lease.gpus:
        if gpu in own:
            counts = orphan or (parent is not None and lease.parent == inside)
        else:
            counts = parent is None or gpu not in parent.gpus
        if counts:
            yield gpu


def ancestors(leases: Iterable[LeaseRecord], inside: str | None) -> list[LeaseRecord]:
    """The lease that we are in, the one that this is in, and so on."""
    by_token = {lease.token: lease for lease in leases}
    found: list[LeaseRecord] = []
    while inside is not None and (lease := by_token.pop(inside, None)) is not None:
        found.append(lease)
        inside = lease.parent
    return found


def _add(found: dict[str, GpuShare], gpu: str, units: int, memory_mib: int | None) -> None:
    before = found.get(gpu, GpuShare())
    found[gpu] = GpuShare(before.units + units, before.memory_mib + (memory_mib or 0))


def _promised(
    want: LeaseRequest,
    found: Mapping[str, GpuShare],
    closed: Container[str],
    sizes_mib: Mapping[str, int],
) -> list[str]:
    """The cards that a waiter will get: those with room, else those that lack least.

    Why nobody starves: nothing starts on a promised card, so what it lacks only shrinks, while
    that of the others can't fall below it but by ends of jobs, too.
    """

    usable = [gpu for gpu in want.gpus if gpu not in closed]
    return sorted(usable, key=lambda gpu: _lack(want, found, sizes_mib, gpu))[: want.number]


def _lack(
    want: LeaseRequest, found: Mapping[str, GpuShare], sizes_mib: Mapping[str, int], gpu: str
) -> tuple[float, float]:
    """What a card lacks of room for a waiter, as a part of the card; then how full it would be."""
    used = found.get(gpu, GpuShare())
    units = (used.units + want.units) / GPU_UNITS - 1
    size_mib = sizes_mib.get(gpu, 0)
    if want.memory_mib is None or not size_mib:
        return max(0.0, units), units
    memory = (used.memory_mib + want.memory_mib) / size_mib - 1
    return max(0.0, units, memory), max(units, memory)


def beyond_capacity(leases: Sequence[LeaseRecord]) -> list[str]:
    """Cards of which more was given than there is; always empty, if all is right."""
    return [gpu for gpu, one in taken(leases).items() if one.units > GPU_UNITS]


def believed(ticket: Ticket, changed_ns: int) -> Ticket:
    """The ticket, with what is believed of how long it has waited.

    Who changes what he waits for makes it anew, and says since when he has waited before that. Of
    that a minute counts: else who comes back all the time would always be the first.

    Args:
        changed_ns: when its file came to be as it is, on the machine's monotonic clock.
    """
    return ticket._replace(since_ns=max(ticket.since_ns, changed_ns - _MOST_CLAIM_NS))


def before(tickets: Iterable[Ticket], own: Ticket | None) -> list[Ticket]:
    """The tickets to be served before ours; all of them if we have none."""
    ordered = sorted(tickets, key=lambda one: (one.since_ns, one.id))
    if own is None:
        return ordered
    return [one for one in ordered if (one.since_ns, one.id) < (own.since_ns, own.id)]
