"""Leases as records, and what they leave of each GPU.

A lease gives its holder a share of some GPUs; the sum of the shares never goes beyond a card.
Everything here is arithmetic on records; the locked files are in `adapters.leases`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.model import GPU_UNITS

#: Of the file format. A file of a later version is refused, not guessed at.
VERSION = 1


class Want(NamedTuple):
    """What a waiter or a holder asks for: so much of each of `number` GPUs out of `gpus`."""

    gpus: tuple[str, ...]  #: keys: UUIDs where the driver answers, else the names that users gave
    number: int
    units: int = GPU_UNITS  #: of each card
    memory_mib: int | None = None  #: of each card; None: not said


class LeaseRecord(NamedTuple):
    """A lease as everybody may read it. There is nothing of the command in it."""

    id: str  #: unique, also over time
    uid: int
    user: str
    pid: int  #: of who took it: a scheduler, or the process that runs on the GPUs
    kind: str  #: job, shell, notebook, python
    since_s: float  #: wall clock
    gpus: tuple[str, ...]  #: keys, see `Want`
    units: int
    memory_mib: int | None = None
    parent: str | None = None  #: the lease that this one is a part of


class Ticket(NamedTuple):
    """Somebody waits. Tickets are served in the order of `since_ns`."""

    id: str
    uid: int
    user: str
    pid: int
    since_ns: int  #: on the machine's monotonic clock
    want: Want


class Taken(NamedTuple):
    """What others have of a card."""

    units: int = 0
    memory_mib: int = 0


def taken(
    leases: Sequence[LeaseRecord],
    tickets: Iterable[Ticket] = (),
    *,
    ours: Container[str] = (),
    inside: str | None = None,
) -> dict[str, Taken]:
    """What others have taken of each card, by leases and by waiting before us.

    A lease within another one is paid for by that one. Seen from inside a lease (a scheduler that
    runs as a job of another one), only its siblings count on the cards of that lease, which are
    wholly its own.

    Args:
        tickets: those before us, in their order; each is promised the emptiest cards it could use.
        ours: the leases that we hold: nothing that we use can be promised.
        inside: the lease that we are in.
    """
    theirs: dict[str, Taken] = {}
    everybody: dict[str, Taken] = {}
    granted = {lease.id: set(lease.gpus) for lease in leases}
    own = granted.get(inside or "", set[str]())
    for lease in leases:
        for gpu in lease.gpus:
            paid = gpu in granted.get(lease.parent or "", ())
            counts = lease.parent == inside if gpu in own else not paid
            if counts and lease.id != inside:
                _add(everybody, gpu, lease.units, lease.memory_mib)
                if lease.id not in ours:
                    _add(theirs, gpu, lease.units, lease.memory_mib)
    for ticket in tickets:
        for gpu in _promised(ticket.want, everybody, own):
            _add(everybody, gpu, ticket.want.units, ticket.want.memory_mib)
            _add(theirs, gpu, ticket.want.units, ticket.want.memory_mib)
    return theirs


def _add(found: dict[str, Taken], gpu: str, units: int, memory_mib: int | None) -> None:
    before = found.get(gpu, Taken())
    found[gpu] = Taken(before.units + units, before.memory_mib + (memory_mib or 0))


def _promised(want: Want, found: Mapping[str, Taken], but: Container[str]) -> list[str]:
    """The free cards that a waiter will get, or that are held back until it has enough."""
    units = {gpu: found[gpu].units if gpu in found else 0 for gpu in want.gpus if gpu not in but}
    free = [gpu for gpu, used in units.items() if used + want.units <= GPU_UNITS]
    return sorted(free, key=units.__getitem__)[: want.number]


def beyond_capacity(leases: Sequence[LeaseRecord]) -> list[str]:
    """Cards of which more was given than there is; always empty, if all is right."""
    return [gpu for gpu, one in taken(leases).items() if one.units > GPU_UNITS]


def before(tickets: Iterable[Ticket], own: Ticket | None) -> list[Ticket]:
    """The tickets to be served before ours; all of them if we have none."""
    ordered = sorted(tickets, key=lambda one: (one.since_ns, one.id))
    if own is None:
        return ordered
    return [one for one in ordered if (one.since_ns, one.id) < (own.since_ns, own.id)]


def lease_fields(lease: LeaseRecord) -> dict[str, Any]:
    """The content of a lease's file."""
    return {"version": VERSION, **lease._asdict()}


def ticket_fields(ticket: Ticket) -> dict[str, Any]:
    """The content of a waiter's file."""
    return {"version": VERSION, **ticket._asdict(), "want": ticket.want._asdict()}


def read_lease(name: str, fields: Any) -> LeaseRecord:
    """The lease of a file.

    Raises:
        SgsError: the file isn't one of ours, or is of a later version.
    """
    try:
        _check_version(fields)
        return LeaseRecord(
            str(fields["id"]),
            int(fields["uid"]),
            str(fields["user"]),
            int(fields["pid"]),
            str(fields["kind"]),
            float(fields["since_s"]),
            tuple(map(str, fields["gpus"])),
            int(fields["units"]),
            None if fields["memory_mib"] is None else int(fields["memory_mib"]),
            None if fields["parent"] is None else str(fields["parent"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unknown(name, error) from None


def read_ticket(name: str, fields: Any) -> Ticket:
    """The waiter of a file.

    Raises:
        SgsError: the file isn't one of ours, or is of a later version.
    """
    try:
        _check_version(fields)
        want = fields["want"]
        memory_mib = want["memory_mib"]
        return Ticket(
            str(fields["id"]),
            int(fields["uid"]),
            str(fields["user"]),
            int(fields["pid"]),
            int(fields["since_ns"]),
            Want(
                tuple(map(str, want["gpus"])),
                int(want["number"]),
                int(want["units"]),
                None if memory_mib is None else int(memory_mib),
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unknown(name, error) from None


def _check_version(fields: Any) -> None:
    if fields["version"] != VERSION:
        raise ValueError(f"version {fields['version']!r}; this program knows {VERSION}")


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
        for (user, kind, pid), theirs in held.items()
    ]
    first = [one for one in tickets if not gpus.keys().isdisjoint(one.want.gpus)]
    parts += [f"{one.user} (pid {one.pid}) has waited for longer" for one in first]
    return "; ".join(parts)


def _names(gpus: Mapping[str, str], keys: Container[str]) -> str:
    names = [name for key, name in gpus.items() if key in keys]
    return f"GPU {names[0]} is" if len(names) == 1 else f"GPUs {', '.join(names)} are"


def _unknown(name: str, error: Exception) -> SgsError:
    return SgsError(
        f"no GPU can be leased: {name} can't be understood ({error}); somebody holds it: see "
        f"`ls -l` and `fuser -v` of it, and remove it if it is none of a newer version of sgs"
    )
