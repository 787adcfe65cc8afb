"""The GPUs that are reserved for the first job that can't start, so that it doesn't starve.

This is EASY backfilling (Lifka, "The ANL/IBM SP scheduling system", JSSPP 1995). The expected ends
of the running jobs say when the held job can start. Another job may start now if it ends before
that time, or if the held job still has its GPUs then.

Where expected ends are unknown, the next few jobs behind the held one may pass it. After them, the
GPUs that are nearest to having room for it are reserved for it, whole. Reserved GPUs stand idle
until the last of them has room. So the more GPUs the held job asks for, the more jobs may pass it.

Why nothing starves, however wrong the expected ends are:

- With expected ends, no start moves the expected time later: each leaves the held job its GPUs at
  that time. Once that time is past, only starts that leave it its GPUs are allowed. The jobs that
  it waits for have started already.
- Without them, only jobs with certain numbers may pass, so they are finitely many. Once they have
  started, what the reserved GPUs lack only shrinks, since nothing starts there.
- A job behind the held one is held itself later, and counts from its own number then. So no job is
  held up by one farther behind it than the count for the largest job.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy.capacity import Capacity
from simple_gpu_scheduler.policy.model import Card, Running, Start

#: How many jobs behind the held one may pass it, for each GPU that it asks for. On average, each
#: of its GPUs runs that many other jobs first. benchmarks/PLACEMENT.md shows why.
PASSES_PER_GPU = 16


class Reservation:
    """What is reserved for the held job while one plan is made."""

    def __init__(
        self, job: Job, capacity: Capacity, active: Collection[Running | Start], now_s: float
    ) -> None:
        """Reserve GPUs.

        Args:
            job: the held job.
            capacity: what the active jobs leave.
            active: the running jobs, and those that this plan has started so far.
            now_s: the time of the plan.
        """
        self.job = job
        self._now_s = now_s
        then = _start_of(job, capacity.cards, active, now_s)
        if then is None:
            self.at_s = math.inf
            self._then: Capacity | None = None
            self.gpus = frozenset(nearest(job, capacity, active))
        else:
            self.at_s, self._then = then
            self.gpus = frozenset(self._then.fitting(job)[: job.gpus])

    def lets_pass(self, job: Job) -> bool:
        """True if the job may start wherever it has room, even on the reserved GPUs."""
        if self._then is None:
            return job.seq <= self.job.seq + PASSES_PER_GPU * self.job.gpus
        return self.over_by_then(job)

    def over_by_then(self, job: Job) -> bool:
        """True if the job is expected to end before the held one can start."""
        if job.expected_s is None or not self._now_s < self.at_s < math.inf:
            return False
        return self._now_s + job.expected_s <= self.at_s

    def outside(self, fitting: list[str]) -> list[str]:
        """The GPUs among these that aren't reserved."""
        return [gpu for gpu in fitting if gpu not in self.gpus]

    def spares(self, job: Job, gpus: Sequence[str]) -> bool:
        """True if the held job can start at its expected time even if this job still runs then."""
        if self._then is None:
            return self.gpus.isdisjoint(gpus)
        self._then.take(job, gpus)
        is_enough = all(self._fits_then(gpu) for gpu in self.gpus) or (
            sum(map(self._fits_then, self._then.used)) >= self.job.gpus
        )
        self._then.give_back(job, gpus)
        return is_enough

    def started(self, job: Job, gpus: Sequence[str]) -> None:
        """Count a job that this plan starts, unless it ends before the held one starts."""
        if self._then is not None and not self.over_by_then(job):
            self._then.take(job, gpus)

    def _fits_then(self, gpu: str) -> bool:
        return self._then is not None and self._then.fits(self.job, gpu)


def _start_of(
    job: Job, cards: Sequence[Card], active: Collection[Running | Start], now_s: float
) -> tuple[float, Capacity] | None:
    """When the job is expected to find its GPUs, and the capacity then; None if unknown.

    A job that is overdue counts as ending now. What is in use without a lease counts as free.
    """
    ends = sorted((_end_s(other, now_s), number, other) for number, other in enumerate(active))
    if ends and math.isinf(ends[0][0]):
        return None
    then = Capacity([card._replace(observed_mib=0) for card in cards], active)
    fitting = {card.name for card in cards if then.fits(job, card.name)}
    at_s = now_s
    for end_s, _, ended in ends:
        if len(fitting) >= job.gpus or math.isinf(end_s):
            break
        then.give_back(ended.job, ended.gpus)
        fitting.update(gpu for gpu in ended.gpus if then.fits(job, gpu))
        at_s = max(now_s, end_s)
    return (at_s, then) if len(fitting) >= job.gpus else None


def _end_s(active: Running | Start, now_s: float) -> float:
    """When the job is expected to end; infinity if unknown."""
    if active.job.expected_s is None:
        return math.inf
    return (active.started_s if isinstance(active, Running) else now_s) + active.job.expected_s


def nearest(job: Job, capacity: Capacity, active: Collection[Running | Start]) -> list[str]:
    """The GPUs that are nearest to having room for the job, as many as it needs.

    GPUs that will not have room even after our own jobs come last. Among equals the user's order
    counts, so that each plan makes the same choice.
    """
    without_ours = Capacity([card._replace(observed_mib=0) for card in capacity.cards], active)
    for other in active:
        without_ours.give_back(other.job, other.gpus)
    ranked = sorted(
        (not without_ours.fits(job, card.name), _lack(job, card, capacity), place, card.name)
        for place, card in enumerate(capacity.cards)
    )
    return [gpu for _, _, _, gpu in ranked[: job.gpus]]


def _lack(job: Job, card: Card, capacity: Capacity) -> float:
    """The part of the GPU that has to come free before the job fits."""
    units = (capacity.used[card.name] + job.units) / GPU_UNITS - 1
    if job.memory_mib is None or not card.memory_mib:
        return max(0.0, units)
    mib = job.memory_mib - capacity.read_memory()[card.name]
    return max(0.0, units, mib / card.memory_mib)
