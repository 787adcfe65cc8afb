"""Observes the GPU memory of running jobs, and reads the end of the logs of failed ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.memory.monitor import MemoryMonitor
from simple_gpu_scheduler.memory.oom import says_out_of_memory
from simple_gpu_scheduler.policy.fit import most_memory_mib
from simple_gpu_scheduler.policy.model import Card, Running
from simple_gpu_scheduler.queue.attempt_end import Observation
from simple_gpu_scheduler.queue.records import Attempt
from simple_gpu_scheduler.queue.server.processes import log_path

_LOG_END_BYTES = 1 << 14


class Observer:
    """What the server learns of jobs beside their exit status."""

    def __init__(
        self,
        folder: str,
        memory_monitor: MemoryMonitor | None,
        gpus: Callable[[], Sequence[Card]],
        keep_estimates: Callable[[], None],
    ) -> None:
        """Observe nothing yet.

        Args:
            folder: the queue's.
            memory_monitor: None if there is no driver.
            gpus: returns the GPUs of the queue.
            keep_estimates: writes what was learned for the next server.
        """
        self._folder = folder
        self._memory_monitor = memory_monitor
        self._gpus = gpus
        self._keep_estimates = keep_estimates
        self.has_learned = False  #: True if the estimates of waiting jobs may have changed

    def poll_in_s(self, running: Mapping[int, Running]) -> float | None:
        """Seconds until the next `poll` of these jobs; None: there is nothing to observe."""
        if self._memory_monitor is None or not running:
            return None
        return self._memory_monitor.poll_in_s(running, time.monotonic())

    def poll(self, running: Mapping[int, Running]) -> list[str]:
        """Measure these jobs, if it is time; returns lines for the server's log."""
        if self._memory_monitor is None:
            return []
        return self._memory_monitor.poll(running, time.monotonic())

    def with_estimate(self, job: Job) -> Job:
        """Return the job with the memory that it is known to need."""
        if self._memory_monitor is None:
            return job
        return self._memory_monitor.with_estimate(job, self._gpus())

    def observe_end(self, running: Running, attempt: Attempt, *, failed: bool) -> Observation:
        """Return what was observed of an attempt that has ended. To be called once."""
        peak_mib: int | None = None
        remarks: tuple[str, ...] = ()
        if self._memory_monitor is not None:
            peak_mib, wrong_gpus = self._memory_monitor.on_end(running.pid)
            remarks = tuple(f"used GPU {gpu}, which it wasn't given" for gpu in wrong_gpus)
            if self._memory_monitor.learn(running.job, peak_mib):
                self.has_learned = True
                with suppress(SgsError):  # the next server then has to measure again
                    self._keep_estimates()
        if not failed or running.job.memory_mib is None:
            return Observation("", peak_mib, remarks)
        return Observation(
            "",
            peak_mib,
            remarks,
            out_of_memory=says_out_of_memory(self._log_end(attempt)),
            most_mib=most_memory_mib(self._gpus(), running.job.gpus),
        )

    def _log_end(self, attempt: Attempt) -> bytes:
        try:
            with open(log_path(self._folder, attempt.job, attempt.number), "rb") as file:
                file.seek(max(0, file.seek(0, 2) - _LOG_END_BYTES))
                return file.read()
        except OSError:
            return b""
