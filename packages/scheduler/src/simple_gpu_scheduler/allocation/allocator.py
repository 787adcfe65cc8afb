"""The leases of one scheduler or program: taken when a job starts, passed on from job to job.

A job that ends leaves its lease to the next job with the same share of the same GPUs. That saves
the work of a new file. But the lease is given back if somebody else waits for the GPUs, or if
something may have changed on them. A lease that no job uses is given back at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.availability import Availability
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.ports import Held
from simple_gpu_scheduler.leases.records import Lease, LeaseRequest, Ticket
from simple_gpu_scheduler.policy import fit
from simple_gpu_scheduler.policy.model import Card, Hold, Start
from simple_gpu_scheduler.system.fds import drain

#: Seconds between two readings while we wait and inotify isn't available: the kernel has no more
#: instances for this user.
_POLL_S = 0.5

#: The same with inotify: no event tells that a foreign process has left a GPU, or that another
#: waiter was stopped.
_POLL_OTHERS_S = 2.0

#: Seconds to the readings after an event: the kernel reports the end of a lease just before its
#: lock is gone.
_RECHECKS_S = (0.05, 1.0)

#: With a driver, seconds for which a lease is passed on. The driver is asked again before a new
#: lease: an earlier job may have left something on the GPU, or a foreign process may use it.
_PASS_ON_S = 1.0


class _OwnLease(NamedTuple):
    start: Start
    held: Held
    since_s: float  #: when its file was added; passing it on doesn't change that


class Allocator:
    """Implements `pipe.ports.Leases` for the GPUs of an `Availability`."""

    def __init__(
        self,
        availability: Availability,
        *,
        kind: str = "job",
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take nothing yet.

        Args:
            availability: our GPUs, and the leases of the machine.
            kind: what the leases are for: job, shell, notebook, python.
            now_s: seconds on a monotonic clock.
        """
        self._availability = availability
        self._store = availability.store
        self._kind = kind
        self._now_s = now_s
        self._held: dict[int, _OwnLease] = {}  # by the job's number
        self._spare: list[_OwnLease] = []  # of jobs that have ended
        self._ticket: tuple[Held, Ticket] | None = None
        self.wake_fd: int | None = None  #: see `pipe.ports.Leases`
        self._reported: set[int | str] = set()  # blockers that the user knows of
        self._rechecks_s: tuple[float, ...] = ()  # how soon to read again after an event

    @property
    def cards(self) -> Sequence[Card]:
        """Our GPUs, less what others have of them; see `pipe.ports.Leases`."""
        return self._availability.cards

    @property
    def refresh_in_s(self) -> float | None:
        """See `pipe.ports.Leases`."""
        if self._ticket is None:
            return None
        if self.wake_fd is None:
            return _POLL_S
        if self._rechecks_s:
            return self._rechecks_s[0]
        has_driver = self._availability.monitor is not None
        return _POLL_OTHERS_S if has_driver or self._availability.earlier_tickets else None

    def refresh(self) -> None:
        """Read leases and tickets, and ask the driver; see `pipe.ports.Leases`."""
        is_woken = self.wake_fd is not None and drain(self.wake_fd)
        self._rechecks_s = _RECHECKS_S if is_woken else self._rechecks_s[1:]
        self._availability.refresh(*self._ours())

    def _ours(self) -> tuple[set[str], Ticket | None, set[str]]:
        """The tokens of our leases, our ticket, and the GPUs on which we run jobs."""
        own_leases = [*self._held.values(), *self._spare]
        busy = {gpu for own in self._held.values() for gpu in own.start.gpus}
        return {own.held.lease.id for own in own_leases}, self._ticket and self._ticket[1], busy

    def take(self, start: Start) -> Lease | None:
        """The lease for a job; see `pipe.ports.Leases`."""
        own = self._take_spare(start) or self._take_new(start)
        return None if own is None else own.held.lease

    def _take_spare(self, start: Start) -> _OwnLease | None:
        """Pass on the lease of a job that has ended, if it is just what this job needs."""
        for spare in self._spare:
            if spare.start.gpus == start.gpus and self._is_reusable(spare, start.job):
                self._spare.remove(spare)
                held = self._store.pass_on(spare.held, self._ticket and self._ticket[1].id)
                if held is None:  # somebody waits, or other leases have changed
                    return None
                self._held[start.job.seq] = own = _OwnLease(start, held, spare.since_s)
                return own
        return None

    def _is_reusable(self, spare: _OwnLease, job: Job) -> bool:
        """True if the lease has the job's share, is fresh, and had no lease within it."""
        old_job = spare.start.job
        return (
            (old_job.units, old_job.memory_mib) == (job.units, job.memory_mib)
            and (self._availability.monitor is None or spare.since_s > self._now_s() - _PASS_ON_S)
            and spare.held.lease.id not in self._availability.parents
        )

    def _take_new(self, start: Start) -> _OwnLease | None:
        job, gpus = start
        self._restore()
        self._availability.read_driver()  # before we lock: it is slow, and others may allocate
        with self._store.allocating():
            self._release_spares(gpus)
            self._availability.read_leases(*self._ours())
            if not self._fits(start):
                return None
            request = self._availability.lease_request(job, gpus)
            held = self._store.add_lease(request, self._kind, self._availability.inside)
            if held is None:  # the lease that we ran in has ended
                self._availability.read_leases(*self._ours())
                return None
            if not self._confirm(held, start):
                return None
            self._held[job.seq] = own = _OwnLease(start, held, self._now_s())
        if self._ticket is None or _is_for(self._ticket[1].request, job):
            self._withdraw()  # the ticket is served; if another job waits, it goes behind others
        return own

    def _confirm(self, held: Held, start: Start) -> bool:
        """Check that our new lease fits beside those that others added meanwhile; else end it."""
        own, ticket, busy = self._ours()
        try:
            if self._store.confirm():
                return True
            self._availability.read_leases({*own, held.lease.id}, ticket, busy)
            if self._fits(start):
                return True
        except BaseException:
            self._store.release(held)
            raise
        self._store.release(held)
        self._availability.read_leases(own, ticket, busy)
        return False

    def remarks(self) -> list[str]:
        """Messages for the user; see `pipe.ports.Leases`."""
        return self._store.remarks()

    def _fits(self, start: Start) -> bool:
        """True if the job fits beside others and beside our own jobs."""
        ours = [own.start for own in self._held.values()]
        asks_memory = start.job.memory_mib is not None
        free_mib = fit.free_memory_mib(self.cards, ours) if asks_memory else None
        return set(start.gpus) <= set(
            fit.with_capacity(start.job, fit.load(self.cards, ours), free_mib)
        )

    def finish(self, job: Job, *, reuse: bool = True) -> None:
        """The job has ended; see `pipe.ports.Leases`."""
        own = self._held.pop(job.seq)
        if reuse:
            self._spare.append(own)
        else:
            self._store.release(own.held)

    def abandon(self, job: Job) -> None:
        """Leave the lease to the job's processes that may still live; it ends with them."""
        held = self._held.pop(job.seq).held
        self._store.release(
            held._replace(pid=0)
        )  # not its owner's pid: only closes our descriptor

    def close(self) -> None:
        """End all our leases and our ticket."""
        self._withdraw()
        self._release_spares()
        for seq in tuple(self._held):
            self._store.release(self._held.pop(seq).held)

    def fault(self, gpus: Sequence[str]) -> str | None:
        """Why one of these GPUs can't be used any more; see `pipe.ports.Leases`."""
        monitor = self._availability.monitor
        if monitor is None:
            return None
        self.refresh()
        faults = [f"GPU {gpu}: {monitor.faults[gpu]}" for gpu in gpus if gpu in monitor.faults]
        return "; ".join(faults) or None

    def settle(self, hold: Hold | None) -> str | None:
        """Give back spare leases, and add a ticket for `hold`; see `pipe.ports.Leases`."""
        if hold is not None:
            self._availability.check_possible(hold.job)
        if self._spare and not (hold and hold.job.gpus > 1 and not self._somebody_waits()):
            self._release_spares()
        if hold is None or not self._waits_for_others(hold):
            self._withdraw()
            return None
        request = self._availability.ticket_request(hold.job)
        if self._ticket is None:
            return self._add_ticket(request)
        if self._ticket[1].request != request:
            self._replace_ticket(request, *self._ticket)
        return None

    def _waits_for_others(self, hold: Hold) -> bool:
        if hold.until_s is not None:
            return False
        asks_memory = hold.job.memory_mib is not None and self._availability.monitor is not None
        return self._availability.is_contended or asks_memory

    def warn(self) -> str | None:
        """A warning that foreign processes use our GPUs, for users who named these GPUs."""
        monitor = self._availability.monitor
        return "; ".join(monitor.busy.values()) or None if monitor else None

    def reasons(self) -> str:
        """Whom and what we wait for, for the user."""
        return self._availability.describe_blockers()

    def _somebody_waits(self) -> bool:
        return self._store.somebody_waits(self._ticket and self._ticket[1].id)

    def _add_ticket(self, request: LeaseRequest) -> str:
        """Begin to wait; returns whom we wait for, or nothing if the user knows."""
        self._restore()
        with self._store.allocating():
            self._ticket = self._store.add_ticket(request, inside=self._availability.inside)
        self.wake_fd = self._store.watch()
        self.refresh()  # leases may have changed before the watch began
        blockers = self._availability.blockers()
        if blockers <= self._reported:
            return ""
        self._reported |= blockers
        return self.reasons()

    def _replace_ticket(self, request: LeaseRequest, held: Held, ticket: Ticket) -> None:
        """Wait for something else, and keep our place among the waiters."""
        with self._store.allocating():
            self._ticket = self._store.add_ticket(
                request, ticket.since_ns, self._availability.inside
            )
        self._store.release(held)

    def _restore(self) -> None:
        """Create the directory again: programs that clean up /tmp remove it while it is empty."""
        if not (self._held or self._spare or self._ticket):
            self._store.restore()

    def _withdraw(self) -> None:
        """End our ticket, if we have one."""
        if self._ticket is None:
            return
        self._store.release(self._ticket[0])
        self._ticket = None
        if self.wake_fd is not None:
            os.close(self.wake_fd)
            self.wake_fd = None

    def _release_spares(self, gpus: Sequence[str] | None = None) -> None:
        """Give back spare leases: all, or only those on one of these GPUs."""
        for spare in tuple(self._spare):
            if gpus is None or not set(gpus).isdisjoint(spare.start.gpus):
                self._spare.remove(spare)
                self._store.release(spare.held)


def _is_for(request: LeaseRequest, job: Job) -> bool:
    """True if the ticket is for such a job, not for another one that starts before it."""
    return request[1:4] == (job.gpus, job.units, job.memory_mib)
