"""What leases and waiters leave of each GPU.

A lease gives its holder a share of some GPUs. The shares of one GPU never add up to more than the
GPU. Everything here is arithmetic on records; the locked files are in `leases.store`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import GpuShare, LeaseRecord, LeaseRequest, Ticket

#: How far back a ticket's own claim of its age is believed.
_MOST_CLAIM_NS = 60 * 10**9


class Reserved(NamedTuple):
    """The GPUs that are reserved for a ticket."""

    ticket: Ticket
    gpus: tuple[str, ...]  #: keys
    is_due: bool  #: leases and the tickets before it leave all of these free for it now


def translate_keys(
    gpus: Sequence[str],
    numbers: Sequence[str],
    ours: Container[str],
    uuids: Mapping[str, Sequence[str]],
) -> tuple[str, ...]:
    """Another program's keys of GPUs, translated into ours. Either may have no driver.

    Args:
        gpus: the other program's keys.
        numbers: the numbers of those GPUs, see `LeaseRequest`.
        ours: our own keys.
        uuids: the UUIDs of each GPU or of its slices, by its number, where we have a driver.
    """
    keys: dict[str, None] = {}
    for gpu, number in zip_longest(gpus, numbers[: len(gpus)], fillvalue=""):
        if gpu in ours:
            keys[gpu] = None
        elif number in ours:
            keys[number] = None
        else:
            keys.update(dict.fromkeys(uuids.get(gpu, (gpu,))))
    return tuple(keys)


def overlaps(lease: LeaseRecord, request: LeaseRequest) -> bool:
    """True if the request names a GPU of the lease, by any of its names."""
    requested = {*request.gpus, *request.numbers} - {""}
    return not requested.isdisjoint((*lease.gpus, *lease.numbers))


def may_be_within(uid: int, parent: LeaseRecord) -> bool:
    """True if a user's programs can run within that lease: the user owns it, or is root."""
    return uid in (parent.uid, 0)


def share_of(units: int, parent: LeaseRecord | None) -> int:
    """A share of a lease as a share of the GPU: half of a lease on a third is a sixth."""
    return units if parent is None else max(1, units * parent.units // GPU_UNITS)


def taken(
    leases: Sequence[LeaseRecord],
    tickets: Iterable[Ticket] = (),
    *,
    ours: Container[str] = (),
    inside: str | None = None,
    sizes_mib: Mapping[str, int] | None = None,
) -> dict[str, GpuShare]:
    """What others have taken of each GPU, by leases and by tickets before ours.

    A lease within another lease takes nothing more: the outer one counts. Once the outer lease or
    its job is over, the inner one counts by itself.

    A scheduler may itself run as a job within a lease. That lease is then the whole of its GPUs.
    Only leases within the same lease count there, and those whose outer lease is over. They count
    as parts of that lease.

    Args:
        tickets: the tickets before ours, in their order. For each, the GPUs that are nearest to
            having room are reserved, so that nothing more starts there.
        ours: the tokens of the leases that we hold.
        inside: the token of the lease that we run in.
        sizes_mib: the memory of each GPU that all leases together may have, where it is known.
    """
    shares = _leased_shares(leases, inside, besides=ours)
    for reserved in reservations(leases, tickets, inside=inside, sizes_mib=sizes_mib):
        for gpu in reserved.gpus:
            _add_share(
                shares, gpu, reserved.ticket.request.units, reserved.ticket.request.memory_mib
            )
    return shares


def reservations(
    leases: Sequence[LeaseRecord],
    tickets: Iterable[Ticket],
    *,
    inside: str | None = None,
    sizes_mib: Mapping[str, int] | None = None,
) -> list[Reserved]:
    """The GPUs that are reserved for each ticket; see `taken`."""
    tickets = tuple(tickets)
    if not tickets:
        return []
    shares, sizes = _leased_shares(leases, inside), sizes_mib or {}
    by_token = {lease.token: lease for lease in leases}
    own = _own_gpus(by_token, inside)
    reserved: list[Reserved] = []
    for ticket in tickets:
        request = ticket.request
        gpus = _reserved_gpus(request, shares, _closed_to(ticket, by_token, own, inside), sizes)
        is_due = bool(gpus) and all(_missing(request, shares, sizes, gpu)[0] == 0 for gpu in gpus)
        reserved.append(Reserved(ticket, tuple(gpus), is_due))
        for gpu in gpus:
            _add_share(shares, gpu, request.units, request.memory_mib)
    return reserved


def _leased_shares(
    leases: Sequence[LeaseRecord], inside: str | None, besides: Container[str] = ()
) -> dict[str, GpuShare]:
    """What leases have taken of each GPU; see `taken`."""
    enclosing = {lease.token: lease for lease in leases}.get(inside or "")
    own = () if enclosing is None else enclosing.gpus
    shares: dict[str, GpuShare] = {}
    for lease, gpus in counted_gpus(leases, inside):
        if lease.token not in besides:
            for gpu in gpus:
                part = _part(lease.units, enclosing) if gpu in own else lease.units
                _add_share(shares, gpu, part, lease.memory_mib)
    return shares


def counted_gpus(
    leases: Sequence[LeaseRecord], inside: str | None
) -> Iterator[tuple[LeaseRecord, list[str]]]:
    """Each lease, and the GPUs on which it counts; see `taken`."""
    by_token = {lease.token: lease for lease in leases}
    own = _own_gpus(by_token, inside)
    for lease in by_token.values():
        yield lease, list(_gpus_of(lease, by_token, own, inside))


def _own_gpus(by_token: Mapping[str, LeaseRecord], inside: str | None) -> set[str]:
    enclosing = by_token.get(inside or "")
    return set() if enclosing is None else set(enclosing.gpus)


def _part(units: int, enclosing: LeaseRecord | None) -> int:
    """A share of a GPU as a part of the lease that we run in, rounded up."""
    return units if enclosing is None else -(-units * GPU_UNITS // enclosing.units)


def _closed_to(
    ticket: Ticket, by_token: Mapping[str, LeaseRecord], own: set[str], inside: str | None
) -> set[str]:
    """GPUs that can't be reserved for a ticket: those of a lease that only one of us is in."""
    around_ticket = by_token.get(ticket.inside or "")
    if around_ticket is not None and not may_be_within(ticket.uid, around_ticket):
        around_ticket = None
    elif ticket.inside == inside:
        return set()
    return own if around_ticket is None else own.union(around_ticket.gpus)


def _gpus_of(
    lease: LeaseRecord,
    by_token: Mapping[str, LeaseRecord],
    own: Container[str],
    inside: str | None,
) -> Iterator[str]:
    """The GPUs on which the lease counts."""
    if inside is not None and lease.token == inside:
        return
    parent = None if lease.parent is None else by_token.get(lease.parent)
    if parent is not None and not may_be_within(lease.uid, parent):
        parent = None
    around = by_token.get(inside or "")
    # A user who may not run in our lease never had a lease within it.
    is_orphan = (
        lease.parent is not None
        and parent is None
        and (around is None or may_be_within(lease.uid, around))
    )
    for gpu in lease.gpus:
        if gpu in own:
            counts = is_orphan or (parent is not None and lease.parent == inside)
        else:
            counts = parent is None or gpu not in parent.gpus
        if counts:
            yield gpu


def ancestors(leases: Iterable[LeaseRecord], inside: str | None) -> list[LeaseRecord]:
    """The lease that we run in, the lease around that one, and so on."""
    by_token = {lease.token: lease for lease in leases}
    chain: list[LeaseRecord] = []
    while inside is not None and (lease := by_token.pop(inside, None)) is not None:
        chain.append(lease)
        inside = lease.parent
    return chain


def _add_share(shares: dict[str, GpuShare], gpu: str, units: int, memory_mib: int | None) -> None:
    before = shares.get(gpu, GpuShare())
    shares[gpu] = GpuShare(before.units + units, before.memory_mib + (memory_mib or 0))


def _reserved_gpus(
    request: LeaseRequest,
    shares: Mapping[str, GpuShare],
    closed: Container[str],
    sizes_mib: Mapping[str, int],
) -> list[str]:
    """The GPUs to reserve for a request: those with room, else the GPUs closest to fitting.

    Why nobody starves: nothing starts on a reserved GPU, so what it lacks only shrinks. Another
    GPU can come to lack less only because jobs end there.
    """
    usable = [gpu for gpu in request.gpus if gpu not in closed]
    return sorted(usable, key=lambda gpu: _missing(request, shares, sizes_mib, gpu))[
        : request.number
    ]


def _missing(
    request: LeaseRequest, shares: Mapping[str, GpuShare], sizes_mib: Mapping[str, int], gpu: str
) -> tuple[float, float]:
    """What a GPU lacks for a request, as a part of the GPU; then how full it would be."""
    used = shares.get(gpu, GpuShare())
    units = (used.units + request.units) / GPU_UNITS - 1
    size_mib = sizes_mib.get(gpu, 0)
    if request.memory_mib is None or not size_mib:
        return max(0.0, units), units
    memory = (used.memory_mib + request.memory_mib) / size_mib - 1
    return max(0.0, units, memory), max(units, memory)


def beyond_capacity(leases: Sequence[LeaseRecord]) -> list[str]:
    """GPUs on which leases add up to more than the GPU. Empty unless something is broken."""
    return [gpu for gpu, share in taken(leases).items() if share.units > GPU_UNITS]


def with_believed_start(ticket: Ticket, changed_ns: int) -> Ticket:
    """The ticket with the start of its wait that is believed.

    A program that changes its request makes a new ticket, which says since when it has waited.
    One minute of that counts. Otherwise a program that comes back all the time would always be
    the first.

    Args:
        changed_ns: when its file last changed, on the machine's monotonic clock.
    """
    return ticket._replace(since_ns=max(ticket.since_ns, changed_ns - _MOST_CLAIM_NS))


def before(tickets: Iterable[Ticket], own: Ticket | None) -> list[Ticket]:
    """The tickets to serve before ours, the first one first; all of them if we have none."""
    ordered = sorted(tickets, key=lambda ticket: (ticket.since_ns, ticket.id))
    if own is None:
        return ordered
    return [ticket for ticket in ordered if (ticket.since_ns, ticket.id) < (own.since_ns, own.id)]
