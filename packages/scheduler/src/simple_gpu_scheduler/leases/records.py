"""Records of leases and of those who wait for them; all immutable."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS


class Lease(NamedTuple):
    """The right to use a share of some GPUs. Each process with the open descriptor holds it."""

    id: str  #: its token for this job; the next job that gets the lease has another one
    fd: int


class LeaseRequest(NamedTuple):
    """A request for a share of each of `number` GPUs out of `gpus`."""

    #: Their keys: UUIDs where the driver answers, else the names that the user gave.
    gpus: tuple[str, ...]
    number: int
    units: int = GPU_UNITS  #: on each GPU
    memory_mib: int | None = None  #: on each GPU; None: not stated
    #: The driver's numbers of `gpus`; for a MIG slice, that of its GPU. Empty without a driver.
    #: Programs that have no driver know the GPUs by these.
    numbers: tuple[str, ...] = ()


class LeaseRecord(NamedTuple):
    """A lease as every user may read it. It says nothing of the command."""

    id: str  #: unique, never used again
    uid: int
    user: str
    pid: int  #: of the process that took it: a scheduler, or the one that runs on the GPUs
    kind: str  #: job, shell, notebook, python
    since_s: float  #: wall clock
    gpus: tuple[str, ...]  #: keys, see `LeaseRequest`
    units: int
    memory_mib: int | None = None
    parent: str | None = None  #: the token of the lease that this one is a part of
    numbers: tuple[str, ...] = ()  #: see `LeaseRequest`
    turn: int = 0  #: how many times it was passed on from one job to the next
    start_ticks: int = 0  #: start of process `pid`, in clock ticks since boot; 0: not stated

    @property
    def token(self) -> str:
        """What leases within this one name as their parent. It is another one for each turn."""
        return token(self.id, self.turn)


class Ticket(NamedTuple):
    """A program waits for GPUs. Tickets are served in the order of `since_ns`."""

    id: str
    uid: int
    user: str
    pid: int
    since_ns: int  #: on the machine's monotonic clock
    request: LeaseRequest
    inside: str | None = None  #: the token of the lease that the program runs in


class GpuShare(NamedTuple):
    """What others have taken of a GPU."""

    units: int = 0
    memory_mib: int = 0


def token(lease_id: str, turn: int) -> str:
    """The name of one job's turn of a lease."""
    return f"{lease_id}:{turn}"
