"""What the pipe needs of the kernel: jobs that are started and ended, and a sleep."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.processes.records import Exit, Leftover


class Runner(Protocol):
    """Starts jobs, ends them, and says how they ended."""

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        """Start the job, which inherits the lease; returns the process id.

        Raises:
            OSError: it could not be started.
        """
        ...

    def reap(self) -> Exit | None:
        """A job that has ended, each once; None if there is no more; never waits."""
        ...

    def last_words(self, job: Job) -> bytes:
        """The end of what an ended job printed; empty where nobody keeps it."""
        ...

    def signal(self, pid: int, seq: int, number: int) -> int:
        """Send a signal to the job's whole process tree; returns how many processes it met."""
        ...

    def leftovers(self, pid: int, seq: int, *, thorough: bool) -> tuple[Leftover, ...]:
        """Processes of an ended job that still live.

        Args:
            thorough: look at every process of the user, not just at the job's process group.
        """
        ...

    def survivors(self) -> dict[int, tuple[Leftover, ...]]:
        """What all ended jobs left behind and still lives, by job; may take milliseconds."""
        ...


class Woken(NamedTuple):
    """Why the wait ended."""

    input_ready: bool
    signals: tuple[int, ...]
    watched_ready: bool = False


class Wait(Protocol):
    """Sleeps in the kernel."""

    def wait(
        self, timeout_s: float | None, *, want_input: bool, watch_fd: int | None = None
    ) -> Woken:
        """Sleep until a job ends, a signal comes, input is ready (if wanted) or time is up.

        Args:
            watch_fd: one more descriptor that may become readable.
        """
        ...
