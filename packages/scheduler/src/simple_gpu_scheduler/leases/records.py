"""Leases and those who wait for them, as records; all immutable."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS


class Lease(NamedTuple):
    """The right to use a share of some GPUs; whoever inherits the descriptor holds it."""

    id: str  #: what the job knows it by; the next job that gets the lease knows it by another one
    fd: int


class LeaseRequest(NamedTuple):
    """What a waiter or a holder asks for: so much of each of `number` GPUs out of `gpus`."""

    gpus: tuple[str, ...]  #: keys: UUIDs where the driver answers, else the names that users gave
    number: int
    units: int = GPU_UNITS  #: of each card
    memory_mib: int | None = None  #: of each card; None: not said
    #: The driver's numbers of `gpus` (of a slice: its card's), empty where there is none. Those
    #: who have no driver know the cards by them.
    numbers: tuple[str, ...] = ()


class LeaseRecord(NamedTuple):
    """A lease as everybody may read it. There is nothing of the command in it."""

    id: str  #: unique, also over time
    uid: int
    user: str
    pid: int  #: of who took it: a scheduler, or the process that runs on the GPUs
    kind: str  #: job, shell, notebook, python
    since_s: float  #: wall clock
    gpus: tuple[str, ...]  #: keys, see `LeaseRequest`
    units: int
    memory_mib: int | None = None
    parent: str | None = None  #: the token of the lease that this one is a part of
    numbers: tuple[str, ...] = ()  #: see `LeaseRequest`
    turn: int = 0  #: how often it was passed on from one job to the next
    start_ticks: int = 0  #: when `pid` was started, since boot; 0: not said

    @property
    def token(self) -> str:
        """What those within the lease know it by: the next job's turn is none of theirs."""
        return token(self.id, self.turn)


class Ticket(NamedTuple):
    """Somebody waits. Tickets are served in the order of `since_ns`."""

    id: str
    uid: int
    user: str
    pid: int
    since_ns: int  #: on the machine's monotonic clock
    want: LeaseRequest
    inside: str | None = None  #: the token of the lease that the waiter is in


class GpuShare(NamedTuple):
    """What others have of a card."""

    units: int = 0
    memory_mib: int = 0


def token(lease_id: str, turn: int) -> str:
    """One job's part of a lease's life."""
    return f"{lease_id}:{turn}"
