"""The leases of one scheduler or program: taken when a job starts, passed on from job to job.

A job that ends leaves its lease to the next job with the same share of the same GPUs, unless
somebody else waits for them, or something may have changed on them: no file is added then. What no
job uses is given back at once.
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

#: Where the kernel has no more inotify instances for this user.
_LOOK_AGAIN_S = 0.5

#: Nobody says when a stranger has gone from a card, or somebody who waits was stopped.
_LOOK_AT_OTHERS_S = 2.0

#: The kernel tells of the end of a lease just before it is over.
_LOOK_TWICE_S = (0.05, 1.0)

#: With a driver, a lease is passed on no longer than this: what an earlier job left behind, or a
#: stranger began, is seen when the next one is taken.
_PASSED_ON_S = 1.0


class _Own(NamedTuple):
    """A lease of ours, and since when it is what was seen of its cards."""

    start: Start
    held: Held
    since_s: float


class Allocator:
    """Implements `ports.Leases` over a view of the machine's leases."""

    def __init__(
        self, view: Availability, *, kind: str = "job", now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`kind` is what the leases are for: job, shell, notebook, python."""
        self._view = view
        self._book = view.book
        self._kind = kind
        self._now_s = now_s
        self._held: dict[int, _Own] = {}  # by the job's number
        self._spare: list[_Own] = []
        self._ticket: tuple[Held, Ticket] | None = None
        self.wake_fd: int | None = None  #: see `ports.Leases`
        self._told: set[int | str] = set()
        self._looks_s: tuple[float, ...] = ()  # how soon to look again, as something was told

    @property
    def cards(self) -> Sequence[Card]:
        """Our GPUs, with what others have of them; see `ports.Leases`."""
        return self._view.cards

    @property
    def refresh_in_s(self) -> float | None:
        """See `ports.Leases`."""
        if self._ticket is None:
            return None
        if self.wake_fd is None:
            return _LOOK_AGAIN_S
        if self._looks_s:
            return self._looks_s[0]
        behind_others = bool(self._view.theirs[1])
        return _LOOK_AT_OTHERS_S if self._view.watch is not None or behind_others else None

    def refresh(self) -> None:
        """See what others hold now, and what the driver says."""
        told = self.wake_fd is not None and drain(self.wake_fd)
        self._looks_s = _LOOK_TWICE_S if told else self._looks_s[1:]
        self._view.refresh(*self._ours())

    def _ours(self) -> tuple[set[str], Ticket | None, set[str]]:
        """What is ours of what there is: tokens, ticket, and the cards on which we run."""
        own = [*self._held.values(), *self._spare]
        busy = {gpu for one in self._held.values() for gpu in one.start.gpus}
        return {one.held.lease.id for one in own}, self._ticket and self._ticket[1], busy

    def take(self, start: Start) -> Lease | None:
        """The lease for a job; see `ports.Leases`."""
        own = self._passed_on(start) or self._take_anew(start)
        return None if own is None else own.held.lease

    def _passed_on(self, start: Start) -> _Own | None:
        """The lease of a job that has ended, if it is just what this one needs."""
        for spare in self._spare:
            if spare.start.gpus == start.gpus and self._serves(spare, start.job):
                self._spare.remove(spare)
                held = self._book.pass_on(spare.held, self._ticket and self._ticket[1].id)
                if held is None:  # somebody waits, or has taken or given back one since we looked
                    return None
                self._held[start.job.seq] = own = _Own(start, held, spare.since_s)
                return own
        return None

    def _serves(self, spare: _Own, job: Job) -> bool:
        """True if it is the same share, fresh, and nobody had a lease within it when we looked."""
        before = spare.start.job
        return (
            (before.units, before.memory_mib) == (job.units, job.memory_mib)
            and (self._view.watch is None or spare.since_s > self._now_s() - _PASSED_ON_S)
            and spare.held.lease.id not in self._view.parents
        )

    def _take_anew(self, start: Start) -> _Own | None:
        job, gpus = start
        self._restore()
        self._view.read_driver()  # it takes its time: others may still allocate
        with self._book.allocating():
            self._release_spares(gpus)
            self._view.read_leases(*self._ours())
            if not self._fits(start):
                return None
            want = self._view.grant(job, gpus)
            held = self._book.add_lease(want, self._kind, self._view.inside)
            if held is None:  # the lease that we were in is over
                self._view.read_leases(*self._ours())
                return None
            if not self._is_alone_with(held, start):
                return None
            self._held[job.seq] = own = _Own(start, held, self._now_s())
        if self._ticket is None or _is_for(self._ticket[1].request, job):
            self._withdraw()  # served: if another job has to wait, it does so behind the others
        return own

    def _is_alone_with(self, held: Held, start: Start) -> bool:
        """True if nobody has added a lease meanwhile that ours doesn't fit beside."""
        own, ticket, busy = self._ours()
        try:
            if self._book.confirm():
                return True
            self._view.read_leases({*own, held.lease.id}, ticket, busy)
            if self._fits(start):
                return True
        except BaseException:
            self._book.release(held)
            raise
        self._book.release(held)
        self._view.read_leases(own, ticket, busy)
        return False

    def remarks(self) -> list[str]:
        """What the user should know; see `ports.Leases`."""
        return self._book.remarks()

    def _fits(self, start: Start) -> bool:
        """True if others leave enough, and so do our own jobs."""
        ours = [own.start for own in self._held.values()]
        asks_memory = start.job.memory_mib is not None
        free_mib = fit.free_memory_mib(self.cards, ours) if asks_memory else None
        return set(start.gpus) <= set(
            fit.with_capacity(start.job, fit.load(self.cards, ours), free_mib)
        )

    def finish(self, job: Job, *, reuse: bool = True) -> None:
        """The job is over; see `ports.Leases`."""
        own = self._held.pop(job.seq)
        if reuse:
            self._spare.append(own)
        else:
            self._book.release(own.held)

    def abandon(self, job: Job) -> None:
        """Leave the lease to whoever of the job may still live; it ends with him."""
        held = self._held.pop(job.seq).held
        self._book.release(held._replace(pid=0))  # as if we weren't its owner: we only let go

    def close(self) -> None:
        """Give everything back."""
        self._withdraw()
        self._release_spares()
        for seq in tuple(self._held):
            self._book.release(self._held.pop(seq).held)

    def fault(self, gpus: Sequence[str]) -> str | None:
        """Why one of these cards can't be used any more; see `ports.Leases`."""
        watch = self._view.watch
        if watch is None:
            return None
        self.refresh()
        found = [f"GPU {gpu}: {watch.faults[gpu]}" for gpu in gpus if gpu in watch.faults]
        return "; ".join(found) or None

    def settle(self, hold: Hold | None) -> str | None:
        """Give back what no job uses, queue up for the job that waits; see `ports.Leases`."""
        if hold is not None:
            self._view.check_hope(hold.job)
        if self._spare and not (hold and hold.job.gpus > 1 and not self._somebody_waits()):
            self._release_spares()
        if hold is None or not self._waits_for_others(hold):
            self._withdraw()
            return None
        want = self._view.want(hold.job)
        if self._ticket is None:
            return self._queue_up(want)
        if self._ticket[1].request != want:
            self._queue_anew(want, *self._ticket)
        return None

    def _waits_for_others(self, hold: Hold) -> bool:
        if hold.until_s is not None:
            return False
        asks_memory = hold.job.memory_mib is not None and self._view.watch is not None
        return self._view.others_are_in_the_way or asks_memory

    def warn(self) -> str | None:
        """Who uses our cards without a lease; for those who take them nevertheless."""
        watch = self._view.watch
        return "; ".join(watch.strangers.values()) or None if watch else None

    def reasons(self) -> str:
        """Whom we wait for, in words."""
        return self._view.reasons()

    def _somebody_waits(self) -> bool:
        return self._book.somebody_waits(self._ticket and self._ticket[1].id)

    def _queue_up(self, want: LeaseRequest) -> str:
        """Wait; returns for whom, or nothing if that was said before."""
        self._restore()
        with self._book.allocating():
            self._ticket = self._book.add_ticket(want, inside=self._view.inside)
        self.wake_fd = self._book.watch()
        self.refresh()  # what changed before the watch began
        who = self._view.whom()
        if who <= self._told:
            return ""
        self._told |= who
        return self.reasons()

    def _queue_anew(self, want: LeaseRequest, held: Held, ticket: Ticket) -> None:
        """Wait for something else, in the same place."""
        with self._book.allocating():
            self._ticket = self._book.add_ticket(want, ticket.since_ns, self._view.inside)
        self._book.release(held)

    def _restore(self) -> None:
        """Who cleans up /tmp may have removed the directory while we had nothing in it."""
        if not (self._held or self._spare or self._ticket):
            self._book.restore()

    def _withdraw(self) -> None:
        if self._ticket is None:
            return
        self._book.release(self._ticket[0])
        self._ticket = None
        if self.wake_fd is not None:
            os.close(self.wake_fd)
            self.wake_fd = None

    def _release_spares(self, gpus: Sequence[str] | None = None) -> None:
        """Give back spare leases; with `gpus` only those that hold one of these."""
        for spare in tuple(self._spare):
            if gpus is None or not set(gpus).isdisjoint(spare.start.gpus):
                self._spare.remove(spare)
                self._book.release(spare.held)


def _is_for(want: LeaseRequest, job: Job) -> bool:
    """True if this is what we waited for, and not a job that passes by."""
    return want[1:4] == (job.gpus, job.units, job.memory_mib)
