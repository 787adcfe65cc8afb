"""The records that the policy decides on and the adapters report; all immutable.

Units stand in the names. `*_s` on the monotonic clock unless the name says `wall`.
Named tuples rather than dataclasses: as frozen, and they load in no time.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job


class Card(NamedTuple):
    """A GPU as a plan sees it: what others leave of it. Our own running jobs come on top."""

    name: str  #: as the user named it
    used_units: int = 0  #: held by others' leases; all of it where it is not to be used at all
    memory_mib: int | None = None  #: what all jobs together may have; None: nobody knows
    leased_mib: int = 0  #: of that, what others' leases ask for
    strangers_mib: int = 0  #: in use by processes without a lease
    observed_mib: int = 0  #: in use by anybody, ourselves among them
    links: tuple[tuple[str, int], ...] = ()  #: NVLinks to other cards, by their names
    numa: int | None = None  #: the NUMA node that it is next to; None: not known


class Running(NamedTuple):
    """A job that has its GPUs. Also an event: the job was started."""

    job: Job
    gpus: tuple[str, ...]
    pid: int
    started_s: float
    started_wall_s: float
    stopped_s: float | None = None  #: when it was first told to stop
    killed: bool = False
    timed_out: bool = False


class Phase(enum.IntEnum):
    """How far a run has come to its end."""

    OPEN = 0
    DRAINING = 1  #: nothing more is read or started
    ENDING = 2  #: running jobs are told to stop
    KILLING = 3  #: and killed


class Snapshot(NamedTuple):
    """All that a plan may look at."""

    now_s: float
    cards: Sequence[Card]  #: in the order in which the user named them
    running: Collection[Running]
    waiting: Sequence[Job]  #: in the order of their start
    last_start_s: float | None = None
    phase: Phase = Phase.OPEN


class PipePolicy(NamedTuple):
    """What the user chose."""

    delay_s: float = 0.0  #: least time between two starts
    grace_s: float = 10.0  #: from TERM to KILL
    kill_leftovers: bool = False  #: end what a job leaves behind
    order: str = "fifo"  #: who goes first and on which cards: one of `policy.orders.ORDERS`
    placement: str = "default"  #: which cards: as the order says, or pack, or spread


class Start(NamedTuple):
    """Start this job on these GPUs. Also an event: the job is about to be started."""

    job: Job
    gpus: tuple[str, ...]


class Hold(NamedTuple):
    """The first job that has to wait, and what for; `reasons.explain` says it in words."""

    job: Job
    free: int  #: GPUs with room for it
    until_s: float | None = None  #: enough are free, but starts are to be apart until then
    most_free: tuple[str, int] | None = None  #: the card with most memory free, where it lacks
    behind: Job | None = None  #: the job that it waits for, where it isn't the GPUs alone


class Stop(NamedTuple):
    """Send this signal to the whole process tree of the job."""

    running: Running
    signal: int
    reason: str = ""  #: for the user; empty if the user knows
    timed_out: bool = False


class Plan(NamedTuple):
    """What to do now, and when to look again if nothing happens."""

    starts: tuple[Start, ...]
    hold: Hold | None
    stops: tuple[Stop, ...]
    wake_s: float | None
