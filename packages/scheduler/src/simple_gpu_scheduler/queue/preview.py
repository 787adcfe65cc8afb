"""What the queue's server sees when it plans, read once for a command. It takes no lease."""

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
from simple_gpu_scheduler.queue.home import NOT_INHERITED, QueueHome
from simple_gpu_scheduler.queue.records import RUNNING, QueuedJob, job_of
from simple_gpu_scheduler.queue.store.settings import ServerSettings
from simple_gpu_scheduler.system.proc import is_ours, start_ticks, ticks_at

#: How many of the jobs behind a job are planned with it: some may pass it.
_BEHIND = 64


class QueuePreview:
    """The queue's GPUs, its running jobs and the next ones, at one moment."""

    def __init__(self, home: QueueHome) -> None:
        """Read the leases, the driver and the running jobs.

        Raises:
            UsageError: there is no GPU.
            SgsError: leases can't be read.
        """
        for name in NOT_INHERITED:  # this command may run within a lease; the server doesn't
            os.environ.pop(name, None)
        self._home = home
        names = home.store.setting("gpus")
        selection = select_gpus(names.split(",") if names else None, lambda _: None)
        has_driver = selection.devices is not None
        self._estimates = MemoryEstimates(read_peaks(peaks_path()) if has_driver else {})
        settings = ServerSettings.read(home.store)
        self.policy = PipePolicy(order=PACKING_ORDER, placement=settings.placement)
        self._server = home.server_pid()
        self._running_jobs = home.store.entries(states=[RUNNING])
        self._preview = Preview(
            selection,
            avoid_foreign=not names,
            keep_free=settings.keep_free,
            scheduler=self._server,
            ours=self._is_ours,
            busy={gpu for job in self._running_jobs for gpu in job.gpu_names},
            idle_memory_mib=settings.idle_memory_mib,
            idle_utilisation_percent=settings.idle_utilisation_percent,
        )
        self.running = [
            Running(self.job(job), job.gpu_names, 0, job.started_s or 0.0, job.started_s or 0.0)
            for job in self._running_jobs
        ]
        #: The GPUs, each with what others and our own running jobs have of it.
        self.gpus = [_with_jobs(gpu, self.running) for gpu in self._preview.cards]

    def job(self, entry: QueuedJob) -> Job:
        """Return a job as the server plans it."""
        most_mib = most_memory_mib(self._preview.cards, entry.gpus)
        return self._estimates.with_estimate(job_of(entry), most_mib)

    def snapshot(self, now_s: float, ahead: int) -> Snapshot:
        """Return what the server plans on: `ahead` waiting jobs, the one after them, and more."""
        waiting = self._home.store.ready(now_s, ahead + 1 + _BEHIND)
        jobs = [self.job(entry) for entry in waiting]
        return Snapshot(now_s, self._preview.cards, self.running, jobs)

    def claims(self, when: Callable[[float], str]) -> dict[str, GpuClaims]:
        """Return who has what of each GPU. Our own jobs stand there with their numbers.

        Args:
            when: formats a time on the wall clock.
        """
        claims = self._preview.claims(when)
        for running in self.running:
            for gpu in claims.keys() & running.gpus:
                held = (f"job {running.job.seq} since {when(running.started_wall_s)}",)
                claims[gpu] = claims[gpu]._replace(held=(*held, *claims[gpu].held))
        return claims

    def _is_ours(self, lease: LeaseRecord) -> bool:
        """True if the lease is the server's, or that of a job whose server is gone."""
        if lease.uid != os.geteuid() or lease.kind != "job":
            return False
        if lease.pid == self._server:
            return True
        return bool(self._running_jobs) and not holder_lives(lease)


def holder_lives(lease: LeaseRecord) -> bool:
    """True if the process that took the lease lives: it is ours, and older than the lease."""
    ticks = start_ticks(lease.pid)
    return ticks is not None and ticks <= ticks_at(lease.since_s) and is_ours(lease.pid)


def _with_jobs(gpu: Card, running: Iterable[Running]) -> Card:
    """Return the GPU with what these jobs have of it."""
    jobs = [one.job for one in running if gpu.name in one.gpus]
    return gpu._replace(
        used_units=min(GPU_UNITS, gpu.used_units + sum(job.units for job in jobs)),
        leased_mib=gpu.leased_mib + sum(job.memory_mib or 0 for job in jobs),
    )
