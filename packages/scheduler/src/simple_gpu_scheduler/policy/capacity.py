"""What each GPU has left while a plan is made: units, and memory if a job asks for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy import fit
from simple_gpu_scheduler.policy.model import Card, Running, Start


class Capacity:
    """The room on each GPU. Each planned start takes some of it.

    Memory is computed when the first job asks for it: few lists have such jobs.
    """

    __slots__ = ("_running", "cards", "free_mib", "used")

    def __init__(self, cards: Sequence[Card], running: Collection[Running | Start]) -> None:
        self.cards = cards
        self.used = fit.load(cards, running)
        self.free_mib: dict[str, int] | None = None
        self._running = running

    def fitting(self, job: Job) -> list[str]:
        """GPUs with room for the job, the least loaded first."""
        if job.memory_mib is not None:
            self.read_memory()
        return fit.with_capacity(job, self.used, self.free_mib)

    def read_memory(self) -> dict[str, int]:
        """Free memory of each GPU in MiB; GPUs of unknown memory are left out.

        Jobs that ask for none take none, so it is the same before and after their starts.
        """
        if self.free_mib is None:
            self.free_mib = fit.free_memory_mib(self.cards, self._running)
        return self.free_mib

    def fits(self, job: Job, gpu: str) -> bool:
        """True if this GPU has room for the job."""
        if self.used[gpu] + job.units > GPU_UNITS:
            return False
        return job.memory_mib is None or self.read_memory().get(gpu, -1) >= job.memory_mib

    def is_full(self) -> bool:
        """True if no GPU has room for anything."""
        return all(units >= GPU_UNITS for units in self.used.values())

    def take(self, job: Job, gpus: Sequence[str]) -> None:
        """Count a job that gets these GPUs."""
        for gpu in gpus:
            self.used[gpu] += job.units
        if job.memory_mib is not None:
            free_mib = self.read_memory()
            for gpu in free_mib.keys() & gpus:
                free_mib[gpu] -= job.memory_mib

    def give_back(self, job: Job, gpus: Sequence[str]) -> None:
        """Give back what a job had of these GPUs."""
        for gpu in gpus:
            self.used[gpu] -= job.units
        if job.memory_mib is not None:
            free_mib = self.read_memory()
            for gpu in free_mib.keys() & gpus:
                free_mib[gpu] += job.memory_mib
