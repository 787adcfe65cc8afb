"""What is kept for the first job that can't start, so that those behind it can't starve it.

EASY backfilling (Lifka, "The ANL/IBM SP scheduling system", JSSPP 1995): by the expected ends of
the running jobs, find when the held job can start; another may start now if it is over by then,
or if the held one would have its GPUs then all the same.

Where ends aren't known, the next few jobs of the queue may pass the held one, and after them the
GPUs that are nearest to having room for it are kept for it, whole. GPUs that are kept stand idle
until the last of them comes free, so the more of them a job asks for, the more may pass it.

Why nothing starves, however wrong the expectations are: neither kind of start moves the expected
time later, since both leave the held job its GPUs then; once that time is past, only the second
kind is left, and what is waited for has started already. Without expectations, those who may pass
are known by their numbers, so they are finitely many, however many come; once they have started,
what the kept GPUs lack only ever shrinks, since nothing starts on them. All in all, nobody is
held up by a job farther behind than that number for the largest job: those behind the held one
come to be held later, and count from their own numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy.capacity import Capacity
from simple_gpu_scheduler.policy.model import Card, Running, Start

#: So many of the jobs behind the held one may pass it for each GPU that it asks for: on average,
#: each of its GPUs sees that many runs of others before it. The choice of benchmarks/PLACEMENT.md.
PASSES_PER_GPU = 16


class Reservation:
    """The held job's claim while one plan is made."""

    def __init__(
        self, job: Job, room: Capacity, active: Collection[Running | Start], now_s: float
    ) -> None:
        """`active` are the jobs running and those that this plan starts; `room` is beside them."""
        self.job = job
        self._now_s = now_s
        then = _when(job, room.cards, active, now_s)
        if then is None:
            self.at_s = math.inf
            self._then: Capacity | None = None
            self.gpus = frozenset(nearest(job, room, active))
        else:
            self.at_s, self._then = then
            self.gpus = frozenset(self._then.fitting(job)[: job.gpus])

    def lets_pass(self, job: Job) -> bool:
        """True if the job may start wherever it has room, on the kept GPUs too."""
        if self._then is None:
            return job.seq <= self.job.seq + PASSES_PER_GPU * self.job.gpus
        return self.over_by_then(job)

    def over_by_then(self, job: Job) -> bool:
        """True if the job should have ended before the held one can start."""
        if job.expected_s is None or not self._now_s < self.at_s < math.inf:
            return False
        return self._now_s + job.expected_s <= self.at_s

    def outside(self, fitting: list[str]) -> list[str]:
        """Those of the GPUs that aren't kept."""
        return [gpu for gpu in fitting if gpu not in self.gpus]

    def spares(self, job: Job, gpus: Sequence[str]) -> bool:
        """True if the held job could start when it should, although this one still runs."""
        if self._then is None:
            return self.gpus.isdisjoint(gpus)
        self._then.take(job, gpus)
        enough = all(self._fits_then(gpu) for gpu in self.gpus) or (
            sum(map(self._fits_then, self._then.used)) >= self.job.gpus
        )
        self._then.give_back(job, gpus)
        return enough

    def started(self, job: Job, gpus: Sequence[str]) -> None:
        """Count a job that starts, unless it is over by then."""
        if self._then is not None and not self.over_by_then(job):
            self._then.take(job, gpus)

    def _fits_then(self, gpu: str) -> bool:
        return self._then is not None and self._then.fits(self.job, gpu)


def _when(
    job: Job, cards: Sequence[Card], active: Collection[Running | Start], now_s: float
) -> tuple[float, Capacity] | None:
    """When the job should find its GPUs, and what is free then; None if nobody knows.

    A job that is overdue is taken to end now. What is in use without a lease is taken to go.
    """
    ends = sorted((_end_s(one, now_s), number, one) for number, one in enumerate(active))
    if ends and math.isinf(ends[0][0]):
        return None
    then = Capacity([card._replace(observed_mib=0) for card in cards], active)
    fitting = {card.name for card in cards if then.fits(job, card.name)}
    at_s = now_s
    for end_s, _, one in ends:
        if len(fitting) >= job.gpus or math.isinf(end_s):
            break
        then.give_back(one.job, one.gpus)
        fitting.update(gpu for gpu in one.gpus if then.fits(job, gpu))
        at_s = max(now_s, end_s)
    return (at_s, then) if len(fitting) >= job.gpus else None


def _end_s(one: Running | Start, now_s: float) -> float:
    if one.job.expected_s is None:
        return math.inf
    return (one.started_s if isinstance(one, Running) else now_s) + one.job.expected_s


def nearest(job: Job, room: Capacity, active: Collection[Running | Start]) -> list[str]:
    """The GPUs that lack least for the job, as many as it needs; those that never will do, last.

    Between equals the order of the user decides, so that the choice stays from plan to plan.
    """
    ours_gone = Capacity([card._replace(observed_mib=0) for card in room.cards], active)
    for one in active:
        ours_gone.give_back(one.job, one.gpus)
    ranked = sorted(
        (not ours_gone.fits(job, card.name), _lack(job, card, room), place, card.name)
        for place, card in enumerate(room.cards)
    )
    return [gpu for _, _, _, gpu in ranked[: job.gpus]]


def _lack(job: Job, card: Card, room: Capacity) -> float:
    """The part of a card that has to come free before the job fits."""
    units = (room.used[card.name] + job.units) / GPU_UNITS - 1
    if job.memory_mib is None or not card.memory_mib:
        return max(0.0, units)
    mib = job.memory_mib - room.read_memory()[card.name]
    return max(0.0, units, mib / card.memory_mib)
