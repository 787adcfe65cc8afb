"""The records that plans are made of; all immutable.

Names end in their units. Times `*_s` are on the monotonic clock unless the name says `wall`. The
records are named tuples, because dataclasses take longer to import.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job


class Card(NamedTuple):
    """A GPU, and what others have of it. Our own running jobs are not counted."""

    name: str  #: as the user named it
    used_units: int = 0  #: leased by others; all of them if the GPU can't be used
    memory_mib: int | None = None  #: what all jobs together may have; None: unknown
    leased_mib: int = 0  #: of that, what others' leases ask for
    strangers_mib: int = 0  #: in use by foreign processes
    observed_mib: int = 0  #: in use by anybody, including our jobs
    links: tuple[tuple[str, int], ...] = ()  #: other GPUs' names, and the NVLinks to each
    numa: int | None = None  #: the NUMA node of the CPUs near it; None: unknown


class Running(NamedTuple):
    """A running job. Also an event: the job was started."""

    job: Job
    gpus: tuple[str, ...]
    pid: int  #: of its first process
    started_s: float
    started_wall_s: float
    stopped_s: float | None = None  #: when it was sent TERM; None: it wasn't
    killed: bool = False
    timed_out: bool = False


class Phase(enum.IntEnum):
    """How far the whole run has come to its end."""

    OPEN = 0
    DRAINING = 1  #: nothing more is read or started
    ENDING = 2  #: running jobs are sent TERM
    KILLING = 3  #: running jobs are sent KILL


class Snapshot(NamedTuple):
    """All that a plan depends on, besides the policy."""

    now_s: float
    cards: Sequence[Card]  #: in the order in which the user named them
    running: Collection[Running]
    waiting: Sequence[Job]  #: in the order in which they should start
    last_start_s: float | None = None  #: when a job was last started
    phase: Phase = Phase.OPEN


class PipePolicy(NamedTuple):
    """The rules that the user chose."""

    delay_s: float = 0.0  #: least time between two starts
    grace_s: float = 10.0  #: time from TERM to KILL
    kill_leftovers: bool = False  #: end the leftovers of a job
    order: str = "fifo"  #: a name of `policy.orders.ORDERS`
    placement: str = "default"  #: default (as the order says), pack or spread


class Start(NamedTuple):
    """Start this job on these GPUs. Also an event: the job is about to be started."""

    job: Job
    gpus: tuple[str, ...]


class Hold(NamedTuple):
    """A job that has to wait, and why; `reasons.explain` words it for the user."""

    job: Job
    free: int  #: how many GPUs have room for it
    until_s: float | None = None  #: enough GPUs have room, but --delay says to wait until then
    most_free: tuple[str, int] | None = None  #: if memory is lacking: the GPU with most free, MiB
    behind: Job | None = None  #: the job that has to start first, if not only GPUs are lacking


class Stop(NamedTuple):
    """Send this signal to the whole process tree of the job."""

    running: Running
    signal: int
    reason: str = ""  #: for the user; empty if the user asked for it
    timed_out: bool = False


class Plan(NamedTuple):
    """What to do now."""

    starts: tuple[Start, ...]
    hold: Hold | None
    stops: tuple[Stop, ...]
    wake_s: float | None  #: when to plan again if nothing else happens; None: never
