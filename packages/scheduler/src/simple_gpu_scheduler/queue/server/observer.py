"""What the server sees of the queue's jobs beside their exit status: GPU memory, last words."""

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
from simple_gpu_scheduler.queue.outcome import Observation
from simple_gpu_scheduler.queue.records import Attempt
from simple_gpu_scheduler.queue.server.processes import log_path

_LAST_BYTES = 1 << 14


class Observer:
    """Looks at jobs that run, where there is a driver, and at the logs of those that failed."""

    def __init__(
        self,
        folder: str,
        care: MemoryMonitor | None,
        cards: Callable[[], Sequence[Card]],
        keep: Callable[[], None],
    ) -> None:
        """`keep` keeps what was learned for the next server."""
        self._folder = folder
        self._care = care
        self._cards = cards
        self._keep = keep
        self.has_learned = False  #: what jobs ask for may have changed

    def poll_in_s(self, running: Mapping[int, Running]) -> float | None:
        """How soon to look at these again; None: there is nothing to see."""
        if self._care is None or not running:
            return None
        return self._care.poll_in_s(running, time.monotonic())

    def poll(self, running: Mapping[int, Running]) -> list[str]:
        """Look at these, if it is time; returns what the log should have."""
        return [] if self._care is None else self._care.poll(running, time.monotonic())

    def asked(self, job: Job) -> Job:
        """The job with what it is known to need."""
        return job if self._care is None else self._care.with_estimate(job, self._cards())

    def of(self, one: Running, attempt: Attempt, *, failed: bool) -> Observation:
        """What was seen of an attempt that has ended; to be asked once."""
        peak_mib: int | None = None
        remarks: tuple[str, ...] = ()
        if self._care is not None:
            peak_mib, others = self._care.on_end(one.pid)
            remarks = tuple(f"used GPU {gpu}, which it wasn't given" for gpu in others)
            if self._care.learn(one.job, peak_mib):
                self.has_learned = True
                self._keep_what_was_learned()
        if not failed or one.job.memory_mib is None:
            return Observation("", peak_mib, remarks)
        return Observation(
            "",
            peak_mib,
            remarks,
            out_of_memory=says_out_of_memory(self._last_words(attempt)),
            most_mib=most_memory_mib(self._cards(), one.job.gpus),
        )

    def _last_words(self, attempt: Attempt) -> bytes:
        try:
            with open(log_path(self._folder, attempt.job, attempt.number), "rb") as file:
                file.seek(max(0, file.seek(0, 2) - _LAST_BYTES))
                return file.read()
        except OSError:
            return b""

    def _keep_what_was_learned(self) -> None:
        with suppress(SgsError):  # else it is measured again
            self._keep()
