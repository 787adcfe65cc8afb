"""Walk through the waiting jobs: which of them start now, which one is held, and why."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.capacity import Capacity
from simple_gpu_scheduler.policy.fragmentation import Mix, mix_of
from simple_gpu_scheduler.policy.model import Hold, PipePolicy, Running, Snapshot, Start
from simple_gpu_scheduler.policy.orders import Order, order_of
from simple_gpu_scheduler.policy.placement import choose
from simple_gpu_scheduler.policy.reservation import Reservation

#: How many jobs behind the held one are tried.
LOOKAHEAD = 128


class Dispatch(NamedTuple):
    """Which jobs start, and which one is held."""

    starts: tuple[Start, ...]
    hold: Hold | None
    until_s: float | None = None  #: with --delay: when the next job may start


def walk(snapshot: Snapshot, policy: PipePolicy) -> Dispatch:
    """Start jobs in the order of the policy."""
    return _Walk(snapshot, policy).run()


def hold_for_capacity(job: Job, capacity: Capacity, free: int) -> Hold:
    """The hold of a job that can't start because too few GPUs have room.

    Args:
        free: how many GPUs have room for it.
    """
    if job.memory_mib is None:
        return Hold(job, free)
    free_mib = capacity.read_memory()
    enough = sum(mib >= job.memory_mib for mib in free_mib.values())
    if enough >= job.gpus or not free_mib:  # memory isn't what is lacking
        return Hold(job, free)
    gpu = max(free_mib, key=free_mib.__getitem__)
    return Hold(job, free, most_free=(gpu, max(0, free_mib[gpu])))


class _Walk:
    """One pass over the queue."""

    def __init__(self, snapshot: Snapshot, policy: PipePolicy) -> None:
        self._snapshot = snapshot
        self._order: Order = order_of(policy)
        self._delay_s = policy.delay_s
        self._capacity = Capacity(snapshot.cards, snapshot.running)
        self._starts: list[Start] = []
        self._last_start_s = snapshot.last_start_s
        self._mix: Mix | None = None

    def run(self) -> Dispatch:
        for number, job in enumerate(self._snapshot.waiting):
            fitting = self._capacity.fitting(job)
            if len(fitting) < job.gpus:
                hold = hold_for_capacity(job, self._capacity, len(fitting))
                until_s = self._behind(job, number + 1) if self._order.backfill else None
                return Dispatch(tuple(self._starts), hold, until_s)
            until_s = self._too_early_s()
            if until_s is not None:
                return Dispatch(tuple(self._starts), Hold(job, len(fitting), until_s), until_s)
            self._start(job, self._choose(job, fitting))
        return Dispatch(tuple(self._starts), None)

    def _behind(self, held: Job, first: int) -> float | None:
        """Start jobs behind the held one that don't delay it (backfill).

        Returns:
            With --delay: when the next job may start. Otherwise None.
        """
        snapshot = self._snapshot
        if self._capacity.is_full():
            return None
        active: list[Running | Start] = [*snapshot.running, *self._starts]
        reservation = Reservation(held, self._capacity, active, snapshot.now_s)
        hopeless: set[tuple[int, int, int | None, float | None]] = set()
        for job in itertools.islice(snapshot.waiting, first, first + LOOKAHEAD):
            request = (job.gpus, job.units, job.memory_mib, job.expected_s)
            if request in hopeless:  # room only shrinks while a plan is made
                continue
            gpus = self._without_delaying(reservation, job)
            if gpus is None:
                hopeless.add(request)
                continue
            until_s = self._too_early_s()
            if until_s is not None:
                return until_s
            reservation.started(job, gpus)
            self._start(job, gpus)
        return None

    def _without_delaying(self, reservation: Reservation, job: Job) -> tuple[str, ...] | None:
        """GPUs on which the job doesn't delay the held one; None if there are too few."""
        fitting = self._capacity.fitting(job)
        if len(fitting) < job.gpus:
            return None
        if reservation.lets_pass(job):
            return self._choose(job, fitting)
        outside = reservation.outside(fitting)
        if len(outside) >= job.gpus:
            return self._choose(job, outside)
        gpus = self._choose(job, fitting)
        return gpus if reservation.spares(job, gpus) else None

    def _choose(self, job: Job, fitting: list[str]) -> tuple[str, ...]:
        if len(fitting) > job.gpus and self._order.cards == "frag" and self._mix is None:
            self._mix = mix_of(self._snapshot.waiting, self._snapshot.running)
        return choose(job, fitting, self._capacity, self._order.cards, self._mix or ())

    def _start(self, job: Job, gpus: tuple[str, ...]) -> None:
        self._capacity.take(job, gpus)
        self._starts.append(Start(job, gpus))
        self._last_start_s = self._snapshot.now_s

    def _too_early_s(self) -> float | None:
        """When the next job may start; None if now."""
        if not self._delay_s or self._last_start_s is None:
            return None
        until_s = self._last_start_s + self._delay_s
        return until_s if self._snapshot.now_s < until_s else None
