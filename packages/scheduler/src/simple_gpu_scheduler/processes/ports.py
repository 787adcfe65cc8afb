"""What the pipe needs of the kernel: to start and end jobs, and to sleep."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.processes.records import Exit, Leftover


class Runner(Protocol):
    """Starts jobs, signals them, and reports how they ended."""

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        """Start a job, which inherits the lease; return its process id.

        Raises:
            OSError: The job can't be started.
            SgsError: Its output can't be kept.
        """
        ...

    def reap(self) -> Exit | None:
        """Return a job that has ended, each once; None if there is no more. It never waits."""
        ...

    def last_words(self, job: Job) -> bytes:
        """Return the end of what an ended job printed; empty if that isn't kept."""
        ...

    def signal(self, pid: int, seq: int, number: int) -> int:
        """Send a signal to the whole process tree of a job; return how many processes it has."""
        ...

    def leftovers(self, pid: int, seq: int, *, thorough: bool) -> tuple[Leftover, ...]:
        """Return the processes of an ended job that still live.

        Args:
            pid: The process id of the job.
            seq: The number of the job's line.
            thorough: True searches all processes; False does so only if the job's process group
                still exists.
        """
        ...

    def survivors(self) -> dict[int, tuple[Leftover, ...]]:
        """Return the leftovers of all ended jobs, by job; this may take milliseconds."""
        ...


class Woken(NamedTuple):
    """Why the sleep ended."""

    input_ready: bool
    signals: tuple[int, ...]  #: their numbers, without SIGCHLD
    watched_ready: bool = False  #: `watch_fd` is readable


class Wait(Protocol):
    """Sleeps in the kernel."""

    def wait(
        self, timeout_s: float | None, *, want_input: bool, watch_fd: int | None = None
    ) -> Woken:
        """Sleep until a job ends, a signal comes, a descriptor is ready, or time is up.

        Args:
            timeout_s: The longest time to sleep, in seconds; None: no limit.
            want_input: True if the input is one of the descriptors.
            watch_fd: One more descriptor that may become readable.
        """
        ...
