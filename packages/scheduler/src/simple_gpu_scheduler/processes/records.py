"""How a process ended, and which processes outlive it; all immutable."""

from __future__ import annotations

from typing import NamedTuple


class Exit(NamedTuple):
    """How a process ended, and what it used. One of exit_code and signal is None."""

    pid: int
    exit_code: int | None
    signal: int | None
    user_s: float = 0.0
    system_s: float = 0.0
    #: The peak resident memory of the job's largest process, in MiB. The kernel starts from what
    #: the scheduler had when it started the job, so it is never less than that (about 13).
    max_rss_mib: float = 0.0


class Leftover(NamedTuple):
    """A process that outlived its job."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.pid} ({self.name})"
