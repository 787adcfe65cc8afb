"""The leases of one scheduler or program: taken when a job starts, passed on from job to job.

A job that ends leaves its lease to the next job with the same share of the same GPUs, unless
somebody else waits for them: no file is touched then. What no job uses is given back at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.adapters.leases import Held, LeaseDir
from simple_gpu_scheduler.adapters.output import drain
from simple_gpu_scheduler.availability import closed, is_touched, kept_free, what_is_left
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.leasing import (
    LeaseRecord,
    Ticket,
    Want,
    before,
    describe_holders,
    taken,
)
from simple_gpu_scheduler.model import GPU_UNITS, Card, Hold, Job, Start
from simple_gpu_scheduler.policy import fit
from simple_gpu_scheduler.ports import Lease

if TYPE_CHECKING:
    from simple_gpu_scheduler.adapters.card_watch import CardWatch

#: Where the kernel has no more inotify instances for this user.
_LOOK_AGAIN_S = 0.5

#: The driver doesn't say when a stranger has gone.
_LOOK_AT_DRIVER_S = 2.0

_Share = tuple[tuple[str, ...], int, int | None]


class LeaseHolder:
    """Implements `ports.Leases` over the lease directory."""

    def __init__(
        self,
        folder: LeaseDir,
        cards: Sequence[Card],
        keys: Mapping[str, str],
        *,
        kind: str = "job",
        inside: str | None = None,
        watch: CardWatch | None = None,
        keep_free: int = 0,
    ) -> None:
        """Look at what others hold.

        Args:
            cards: our GPUs, with nothing taken.
            keys: the key in leases of each card's name.
            kind: what the leases are for: job, shell, notebook, python.
            inside: the lease that we ourselves run in.
            watch: tells what the driver knows of our cards, where there is one.
            keep_free: take no card if that would leave others fewer free ones.

        Raises:
            SgsError: leases can't be read.
        """
        self._folder = folder
        self._bare = tuple(cards)
        self._keys = dict(keys)
        self._names = {key: name for name, key in keys.items()}
        self._kind = kind
        self._inside = inside
        self._watch = watch
        self._keep_free = keep_free
        self._held: dict[int, tuple[Start, Held]] = {}  # by the job's number
        self._spare: list[tuple[_Share, Held]] = []
        self._ticket: tuple[Held, Ticket] | None = None
        self.cards: Sequence[Card] = self._bare  #: with what others have of them, as last seen
        self.wake_fd: int | None = None  #: see `ports.Leases`
        self.look_again_s: float | None = None
        self._others_are_in_the_way = False
        self._closed: set[str] = set()  # cards that we wouldn't take, whoever has them
        self._theirs: tuple[list[LeaseRecord], list[Ticket]] = ([], [])
        self._told: set[int | str] = set()
        self.look()

    def look(self) -> None:
        """See what others hold now, and what the driver says."""
        if self.wake_fd is not None:
            drain(self.wake_fd)
        leases = self._folder.leases()
        self._look_at_driver(leases)
        self._reckon(leases)

    def _look_at_driver(self, leases: Sequence[LeaseRecord]) -> None:
        if self._watch is not None:
            self._bare = tuple(self._watch.look(leases))

    def _reckon(self, leases: Sequence[LeaseRecord]) -> None:
        """What these leases, and those who wait, leave of our cards."""
        ours = {held.lease.id for held in self._all_held()}
        ticket = None if self._ticket is None else self._ticket[1]
        tickets = [one for one in before(self._folder.tickets(), ticket) if one != ticket]
        found = taken(leases, tickets, ours=ours, inside=self._inside)
        self._theirs = [one for one in leases if one.id not in ours], tickets
        cards = [what_is_left(card, found.get(self._keys[card.name])) for card in self._bare]
        busy = {gpu for start, _ in self._held.values() for gpu in start.gpus}
        kept = kept_free(cards, busy, self._keep_free)
        self.cards = tuple(closed(card) if card.name in kept else card for card in cards)
        self._closed = kept | {card.name for card in self._bare if card.used_units >= GPU_UNITS}
        self._others_are_in_the_way = any(map(is_touched, self.cards))

    def take(self, start: Start) -> Lease | None:
        """The lease for a job; see `ports.Leases`."""
        held = self._passed_on(start) or self._take_anew(start)
        if held is None:
            return None
        self._held[start.job.seq] = start, held
        return held.lease

    def _passed_on(self, start: Start) -> Held | None:
        """The lease of a job that has ended, if it is just what this one needs."""
        share = _share(start)
        for spare in self._spare:
            if spare[0] == share and not self._somebody_waits():
                self._spare.remove(spare)
                return spare[1]
        return None

    def _take_anew(self, start: Start) -> Held | None:
        job, gpus = start
        keys = tuple(self._keys[gpu] for gpu in gpus)
        if self._watch is not None:  # it takes its time: others may still allocate
            self._look_at_driver(self._folder.leases())
        with self._folder.allocating():
            self._release_spares(gpus)
            self._reckon(self._folder.leases())
            if not self._fits(start):
                return None
            want = Want(keys, len(keys), job.units, job.memory_mib)
            held = self._folder.add_lease(want, self._kind, self._inside)
        self._withdraw()  # served: if another job has to wait, it does so behind the others
        return held

    def _fits(self, start: Start) -> bool:
        """True if others leave enough, and so do our own jobs."""
        ours = [one for one, _ in self._held.values()]
        asks_memory = start.job.memory_mib is not None
        free_mib = fit.free_memory_mib(self.cards, ours) if asks_memory else None
        return set(start.gpus) <= set(
            fit.with_room(start.job, fit.load(self.cards, ours), free_mib)
        )

    def finish(self, job: Job) -> None:
        """The job is over; the next one on the same GPUs may have its lease."""
        start, held = self._held.pop(job.seq)
        self._spare.append((_share(start), held))

    def fault(self, gpus: Sequence[str]) -> str | None:
        """Why one of these cards can't be used any more; see `ports.Leases`."""
        if self._watch is None:
            return None
        self.look()
        found = [
            f"GPU {gpu}: {self._watch.faults[gpu]}" for gpu in gpus if gpu in self._watch.faults
        ]
        return "; ".join(found) or None

    def settle(self, hold: Hold | None) -> str | None:
        """Give back what no job uses, queue up for the job that waits; see `ports.Leases`."""
        if self._spare and not (hold and hold.job.gpus > 1 and not self._somebody_waits()):
            self._release_spares()
        if hold is None or not self._waits_for_others(hold):
            self._withdraw()
            return None
        if self._watch is not None and len(self._watch.faults) == len(self._bare):
            raise SgsError(f"no GPU is left to run on ({self._faults()})")
        want = self._want(hold.job)
        if self._ticket is None:
            return self._queue_up(want)
        if self._ticket[1].want != want:
            self._queue_anew(want, *self._ticket)
        return None

    def _waits_for_others(self, hold: Hold) -> bool:
        if hold.until_s is not None:
            return False
        asks_memory = hold.job.memory_mib is not None and self._watch is not None
        return self._others_are_in_the_way or asks_memory

    def _want(self, job: Job) -> Want:
        """What the job could use: of other cards, nobody should keep one free for us."""
        keys = tuple(key for name, key in self._keys.items() if name not in self._closed)
        return Want(keys, job.gpus, job.units, job.memory_mib)

    def _queue_anew(self, want: Want, held: Held, ticket: Ticket) -> None:
        """Wait for something else, in the same place."""
        self._ticket = self._folder.add_ticket(want, ticket.since_ns)
        self._folder.release(held)

    def warn(self) -> str | None:
        """Who uses our cards without a lease; for those who take them nevertheless."""
        return "; ".join(self._watch.strangers.values()) or None if self._watch else None

    def _somebody_waits(self) -> bool:
        return self._folder.somebody_waits(self._ticket and self._ticket[1].id)

    def _queue_up(self, want: Want) -> str:
        self._ticket = self._folder.add_ticket(want)
        from simple_gpu_scheduler.adapters import inotify  # costs time, and few ever wait

        try:
            self.wake_fd = inotify.watch_ends((self._folder.path, self._folder.waiting_path))
        except OSError:
            self.wake_fd = None
        self.look_again_s = _LOOK_AT_DRIVER_S if self._watch is not None else None
        if self.wake_fd is None:
            self.look_again_s = _LOOK_AGAIN_S
        self.look()  # what changed before the watch began
        return self._news()

    def _news(self) -> str:
        """Whom we wait for, in words; empty if that was said before."""
        leases, tickets = self._theirs
        strangers = self._watch.strangers.values() if self._watch is not None else ()
        pids = [one.pid for one in leases] + [one.pid for one in tickets]
        who = {*pids, *strangers, self._faults()}
        if who <= self._told:
            return ""
        self._told |= who
        return self.reasons()

    def reasons(self) -> str:
        """Whom we wait for, in words."""
        parts = [describe_holders(self._names, *self._theirs, _clock_time)]
        if self._watch is not None:
            parts += [*self._watch.strangers.values(), self._faults()]
        if self._keep_free:
            parts.append(f"{self._keep_free} are kept free (--keep-free)")
        return "; ".join(part for part in parts if part)

    def _faults(self) -> str:
        faults = self._watch.faults if self._watch is not None else {}
        return "; ".join(f"GPU {name} has failed: {why}" for name, why in faults.items())

    def _withdraw(self) -> None:
        if self._ticket is None:
            return
        self._folder.release(self._ticket[0])
        self._ticket = None
        self.look_again_s = None
        if self.wake_fd is not None:
            os.close(self.wake_fd)
            self.wake_fd = None

    def _release_spares(self, gpus: Sequence[str] | None = None) -> None:
        """Give back spare leases; with `gpus` only those that hold one of these."""
        for spare in tuple(self._spare):
            share, held = spare
            if gpus is None or not set(gpus).isdisjoint(share[0]):
                self._spare.remove(spare)
                self._folder.release(held)

    def _all_held(self) -> Iterator[Held]:
        yield from (held for _, held in self._held.values())
        yield from (held for _, held in self._spare)


def _share(start: Start) -> _Share:
    return start.gpus, start.job.units, start.job.memory_mib


def _clock_time(wall_s: float) -> str:
    return time.strftime("%H:%M", time.localtime(wall_s))
