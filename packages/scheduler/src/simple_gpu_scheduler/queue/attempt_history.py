"""Attempts that ended or run, as reports read them. Times are on the wall clock."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    LOST,
    RUNNING,
    SUCCEEDED,
)


class AttemptRecord(NamedTuple):
    """An attempt, with what its job asks for."""

    job: int
    number: int  #: of the attempt
    command: bytes
    group: str
    name: str
    state: str  #: of the job, if this is its last attempt; else empty
    submitted_s: float
    not_before_s: float | None
    started_s: float
    ended_s: float | None  #: None: it runs
    exit_code: int | None
    signal: int | None
    reason: str
    gpu_names: tuple[str, ...]
    memory_mib: int | None = None  #: the GPU memory that it asked for, on each GPU
    peak_vram_mib: int | None = None  #: the most GPU memory that it used on one GPU
    user_s: float | None = None
    system_s: float | None = None
    max_rss_mib: int | None = None

    @property
    def outcome(self) -> str:
        """How the attempt ended, as a state of a job."""
        if self.ended_s is None:
            return RUNNING
        if self.state in ENDED_STATES:
            return self.state
        if self.reason == CANCELLED:
            return CANCELLED
        if self.exit_code == 0 and not self.reason:
            return SUCCEEDED
        unknown = self.exit_code is None and self.signal is None
        return LOST if unknown and not self.reason.startswith("can't be started") else FAILED

    def runtime_s(self, now_s: float) -> float:
        """Seconds that the attempt ran, or has run so far."""
        return max(0.0, (now_s if self.ended_s is None else self.ended_s) - self.started_s)
