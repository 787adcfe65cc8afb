"""Jobs of the queue as immutable records. Times are on the wall clock."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.queue.wrapped_command import own_command

#: The states of a job. The first three are open: the job goes on. The others are final.
QUEUED, HELD, RUNNING = "queued", "held", "running"
SUCCEEDED, FAILED, CANCELLED, LOST = "succeeded", "failed", "cancelled", "lost"
OPEN_STATES = (QUEUED, HELD, RUNNING)
ENDED_STATES = (SUCCEEDED, FAILED, CANCELLED, LOST)
STATES = (*OPEN_STATES, *ENDED_STATES)


class Context(NamedTuple):
    """The working directory, environment and umask in which a command runs."""

    cwd: bytes
    environ: tuple[tuple[bytes, bytes], ...]
    umask: int


class JobRequest(NamedTuple):
    """What a submitter asks for."""

    command: bytes
    gpus: int = 1
    units: int = GPU_UNITS  #: of each GPU
    memory_mib: int | None = None  #: of each GPU
    auto_memory: bool = False  #: measure how much memory the job needs
    priority: int = 0
    after: tuple[int, ...] = ()  #: jobs that must have succeeded
    after_any: tuple[int, ...] = ()  #: jobs that must have ended, with any status
    not_before_s: float | None = None
    timeout_s: float | None = None
    tries: int = 1  #: the most attempts while the job fails; 0: no limit
    name: str = ""
    group: str = ""
    key: str | None = None  #: at most one job of a key is open or has succeeded
    held: bool = False
    notify: bytes | None = None  #: a command to run once the job has ended
    snapshot: str = ""  #: the snapshot of the code that it runs in; empty: the code itself
    requeue: bool = False  #: queue the job again if the machine goes down while it runs
    kill_leftovers: bool = False  #: end the processes that it leaves behind
    retry_failed: bool = False  #: if the job of its key has failed, queue that one again


class QueuedJob(NamedTuple):
    """A job as the queue's file has it."""

    id: int
    state: str
    command: bytes
    context: int  #: the number of its context
    gpus: int
    units: int
    memory_mib: int | None
    auto_memory: bool
    priority: int
    blockers: int  #: the number of jobs that it still waits for
    not_before_s: float | None
    timeout_s: float | None
    tries: int
    name: str
    group: str
    key: str | None
    submitted_s: float
    attempt: int  #: the number of its last attempt; 0: it was never started
    started_s: float | None  #: the start of the last attempt
    ended_s: float | None
    exit_code: int | None
    signal: int | None
    reason: str  #: why it ended, where the exit status doesn't say it all
    gpu_names: tuple[str, ...]  #: the GPUs of the last attempt
    notify: bytes | None = None
    snapshot: str = ""
    peak_vram_mib: int | None = None  #: most GPU memory used on one GPU in the last attempt
    requeue: bool = False
    kill_leftovers: bool = False


class Submitted(NamedTuple):
    """The job that a request led to."""

    id: int
    new: bool  #: False: there was a job with its key, and nothing was added
    state: str
    retried: bool = False  #: the job with its key had failed, and is queued again


class Attempt(NamedTuple):
    """One run of a job."""

    job: int
    number: int
    launcher: str  #: the name of the launcher that starts it
    gpu_names: tuple[str, ...]
    started_s: float
    pid: int | None = None  #: None: the launcher hasn't reported a process yet
    start_ticks: int | None = None  #: since boot; with the pid and the boot it is one process
    boot: str = ""
    memory_mib: int | None = None  #: the GPU memory that it asked for, on each GPU
    last_ticks: int = 0  #: the latest possible `start_ticks`, if it isn't known exactly


class ResourceRequest(NamedTuple):
    """What a job asks for from now on."""

    memory_mib: int | None  #: of each GPU
    units: int  #: of each GPU


class AttemptEnd(NamedTuple):
    """How an attempt ended. With neither exit code nor signal, its exit status is unknown."""

    job: int
    attempt: int
    state: str
    ended_s: float
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    peak_vram_mib: int | None = None  #: most GPU memory used on one GPU; None: not measured
    user_s: float | None = None  #: CPU time; None: unknown
    system_s: float | None = None
    max_rss_mib: int | None = None  #: of its largest process
    excused: bool = False  #: the job wasn't at fault: the attempt doesn't count
    request: ResourceRequest | None = None  #: None: the job asks for the same as before


def job_of(job: QueuedJob) -> Job:
    """The next attempt of a job, as the scheduler plans it."""
    return Job(
        job.id,
        own_command(job.command),
        job.gpus,
        job.units,
        job.timeout_s,
        job.tries,
        job.attempt + 1,
        job.memory_mib,
        auto_memory=job.auto_memory,
    )
