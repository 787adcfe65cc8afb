"""What the queue's server sees when it plans, for somebody who asks; nothing is taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from simple_gpu_scheduler.allocation.preview import Preview
from simple_gpu_scheduler.gpus.selection import select_gpus
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.memory.estimates import MemoryEstimates
from simple_gpu_scheduler.memory.peaks_file import peaks_path, read_peaks
from simple_gpu_scheduler.policy.explain import GpuClaims
from simple_gpu_scheduler.policy.fit import most_memory_mib
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Running, Snapshot
from simple_gpu_scheduler.policy.orders import PACKING_ORDER
from simple_gpu_scheduler.queue.home import NOT_ITS_OWN, QueueHome
from simple_gpu_scheduler.queue.records import RUNNING, QueuedJob, job_of
from simple_gpu_scheduler.queue.store.settings import ServerSettings
from simple_gpu_scheduler.system.proc import is_ours, start_ticks, ticks_at

#: Jobs that are planned beyond the one that is asked about: they may pass it.
_BEHIND = 64


class QueuePreview:
    """The GPUs of the queue, what runs on them, and who is next, at one moment."""

    def __init__(self, home: QueueHome) -> None:
        """Look, once.

        Raises:
            UsageError: there is no GPU.
            SgsError: leases can't be read.
        """
        for name in NOT_ITS_OWN:  # who asks may be in a lease; the server isn't
            os.environ.pop(name, None)
        self._home = home
        words = home.store.setting("gpus")
        chosen = select_gpus(words.split(",") if words else None, lambda _: None)
        has_driver = chosen.devices is not None
        self._learned = MemoryEstimates(read_peaks(peaks_path()) if has_driver else {})
        settings = ServerSettings.read(home.store)
        self.policy = PipePolicy(order=PACKING_ORDER, placement=settings.placement)
        self._server = home.server_pid()
        self._active = home.store.entries(states=[RUNNING])
        self._glance = Preview(
            chosen,
            avoid_foreign=not words,
            keep_free=settings.keep_free,
            scheduler=self._server,
            ours=self._is_ours,
            busy={gpu for one in self._active for gpu in one.gpu_names},
            idle_memory_mib=settings.idle_memory_mib,
            idle_utilisation_percent=settings.idle_utilisation_percent,
        )
        self.running = [
            Running(self.job(one), one.gpu_names, 0, one.started_s or 0.0, one.started_s or 0.0)
            for one in self._active
        ]
        #: What is free of each, also of our own jobs.
        self.cards = [_without(card, self.running) for card in self._glance.cards]

    def job(self, entry: QueuedJob) -> Job:
        """A job as the server plans it."""
        return self._learned.with_estimate(
            job_of(entry), most_memory_mib(self._glance.cards, entry.gpus)
        )

    def snapshot(self, now_s: float, ahead: int) -> Snapshot:
        """What the server plans on, with so many jobs that wait and some behind them."""
        waiting = self._home.store.ready(now_s, ahead + 1 + _BEHIND)
        jobs = [self.job(one) for one in waiting]
        return Snapshot(now_s, self._glance.cards, self.running, jobs)

    def known(self, when: Callable[[float], str]) -> dict[str, GpuClaims]:
        """Who has what of each GPU, our own jobs by their numbers."""
        found = self._glance.claims(when)
        for one in self.running:
            for gpu in found.keys() & one.gpus:
                held = (f"job {one.job.seq} since {when(one.started_wall_s)}",)
                found[gpu] = found[gpu]._replace(held=(*held, *found[gpu].held))
        return found

    def _is_ours(self, lease: LeaseRecord) -> bool:
        """Whether the queue's server has it, or a job whose server is no more."""
        if lease.uid != os.geteuid() or lease.kind != "job":
            return False
        if lease.pid == self._server:
            return True
        return bool(self._active) and not holder_lives(lease)


def holder_lives(lease: LeaseRecord) -> bool:
    """Whether who took it does: a process of ours, and not younger than the lease."""
    ticks = start_ticks(lease.pid)
    return ticks is not None and ticks <= ticks_at(lease.since_s) and is_ours(lease.pid)


def _without(card: Card, running: Iterable[Running]) -> Card:
    """What these leave of a card."""
    jobs = [one.job for one in running if card.name in one.gpus]
    return card._replace(
        used_units=min(GPU_UNITS, card.used_units + sum(job.units for job in jobs)),
        leased_mib=card.leased_mib + sum(job.memory_mib or 0 for job in jobs),
    )
