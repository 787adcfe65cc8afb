"""Jobs of the durable queue as records; all immutable. Times are on the wall clock."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.queue.wrapped_command import own_command

#: What a job can be. From the first three it goes on; the others are its end.
QUEUED, HELD, RUNNING = "queued", "held", "running"
SUCCEEDED, FAILED, CANCELLED, LOST = "succeeded", "failed", "cancelled", "lost"
OPEN_STATES = (QUEUED, HELD, RUNNING)
ENDED_STATES = (SUCCEEDED, FAILED, CANCELLED, LOST)
STATES = (*OPEN_STATES, *ENDED_STATES)


class Context(NamedTuple):
    """Where a command runs: as its submitter would have run it."""

    cwd: bytes
    environ: tuple[tuple[bytes, bytes], ...]
    umask: int


class JobRequest(NamedTuple):
    """What a submitter asks for."""

    command: bytes
    gpus: int = 1
    units: int = GPU_UNITS  #: of each GPU
    memory_mib: int | None = None  #: of each GPU
    auto_memory: bool = False
    priority: int = 0
    after: tuple[int, ...] = ()  #: jobs that must have succeeded
    after_any: tuple[int, ...] = ()  #: jobs that must have ended, however
    not_before_s: float | None = None
    timeout_s: float | None = None
    tries: int = 1  #: runs at most so often while it fails; 0: without end
    name: str = ""
    group: str = ""
    key: str | None = None  #: of the jobs of one key, one at most is open or has succeeded
    held: bool = False
    notify: bytes | None = None  #: a command to run once it has ended
    snapshot: str = ""  #: of the work tree that it runs in; empty: in the tree itself
    requeue: bool = False  #: run it again if the machine goes down while it runs
    kill_leftovers: bool = False  #: end what it leaves behind
    retry_failed: bool = False  #: if the one of its key has failed, that is queued again


class QueuedJob(NamedTuple):
    """A job as the queue knows it."""

    id: int
    state: str
    command: bytes
    context: int  #: the number of its context
    gpus: int
    units: int
    memory_mib: int | None
    auto_memory: bool
    priority: int
    blockers: int  #: jobs that it still waits for
    not_before_s: float | None
    timeout_s: float | None
    tries: int
    name: str
    group: str
    key: str | None
    submitted_s: float
    attempt: int  #: how often it was started
    started_s: float | None  #: the last attempt
    ended_s: float | None
    exit_code: int | None
    signal: int | None
    reason: str  #: of its end, where the exit status doesn't say it all
    gpu_names: tuple[str, ...]  #: those of the last attempt
    notify: bytes | None = None
    snapshot: str = ""
    peak_vram_mib: int | None = None  #: most seen on one GPU in the last attempt
    requeue: bool = False
    kill_leftovers: bool = False


class Submitted(NamedTuple):
    """What became of a request."""

    id: int
    new: bool  #: False: there was a job of its key, and nothing was added
    state: str
    retried: bool = False  #: that one had failed, and is queued again


class Attempt(NamedTuple):
    """One start of a job."""

    job: int
    number: int
    launcher: str  #: who was told to start it
    gpu_names: tuple[str, ...]
    started_s: float
    pid: int | None = None  #: None: nobody has said yet that it runs
    start_ticks: int | None = None  #: since boot; with the pid and the boot it is one process
    boot: str = ""
    memory_mib: int | None = None  #: of each GPU, as it was asked for
    last_ticks: int = 0  #: where `start_ticks` isn't known exactly: it isn't later than this


class ResourceRequest(NamedTuple):
    """What a job is to ask for from now on."""

    memory_mib: int | None  #: of each GPU
    units: int  #: of each GPU


class AttemptEnd(NamedTuple):
    """How an attempt ended. With neither exit code nor signal nobody knows."""

    job: int
    attempt: int
    state: str
    ended_s: float
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    peak_vram_mib: int | None = None  #: most seen on one GPU; None: not measured
    user_s: float | None = None  #: CPU time; None: nobody knows
    system_s: float | None = None
    max_rss_mib: int | None = None  #: of its largest process
    excused: bool = False  #: it was no fault of the job: the attempt doesn't count
    ask: ResourceRequest | None = None  #: None: as before


def job_of(entry: QueuedJob) -> Job:
    """The next attempt of a job, as plans see it."""
    return Job(
        entry.id,
        own_command(entry.command),
        entry.gpus,
        entry.units,
        entry.timeout_s,
        entry.tries,
        entry.attempt + 1,
        entry.memory_mib,
        auto_memory=entry.auto_memory,
    )
