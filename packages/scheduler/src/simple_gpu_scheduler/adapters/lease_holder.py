"""The leases of one scheduler or program: taken when a job starts, passed on from job to job.

A job that ends leaves its lease to the next job with the same share of the same GPUs, unless
somebody else waits for them: no file is touched then. What no job uses is given back at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.adapters.leases import Held, LeaseDir
from simple_gpu_scheduler.adapters.output import drain
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.leasing import (
    LeaseRecord,
    Taken,
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
        self._spare: dict[_Share, list[Held]] = {}
        self._ticket: tuple[Held, Ticket] | None = None
        self._wake_fd: int | None = None
        self._cards = self._bare
        self._closed: set[str] = set()  # cards that we wouldn't take, whoever has them
        self._theirs: tuple[list[LeaseRecord], list[Ticket]] = ([], [])
        self._told: set[int | str] = set()
        self.look()

    @property
    def cards(self) -> Sequence[Card]:
        """Our GPUs, with what others have of them, as last seen."""
        return self._cards

    @property
    def wake_fd(self) -> int | None:
        """Readable once others' leases have changed; None while nothing waits for them."""
        return self._wake_fd

    @property
    def look_again_s(self) -> float | None:
        """How soon to look again where nothing wakes us."""
        if self._ticket is None:
            return None
        if self._wake_fd is None:
            return _LOOK_AGAIN_S
        return None if self._watch is None else _LOOK_AT_DRIVER_S

    def look(self) -> None:
        """See what others hold now, and what the driver says."""
        if self._wake_fd is not None:
            drain(self._wake_fd)
        if self._watch is not None:
            self._bare = tuple(self._watch.look(self._folder.leases()))
        self._look_at_leases()

    def _look_at_leases(self) -> None:
        ours = {held.lease.id for held in self._all_held()}
        leases = self._folder.leases()
        ticket = None if self._ticket is None else self._ticket[1]
        tickets = [one for one in before(self._folder.tickets(), ticket) if one != ticket]
        found = taken(leases, tickets, ours=ours, inside=self._inside)
        self._theirs = [one for one in leases if one.id not in ours], tickets
        cards = [_less(card, found.get(self._keys[card.name])) for card in self._bare]
        busy = {gpu for start, _ in self._held.values() for gpu in start.gpus}
        kept = kept_free(cards, busy, self._keep_free)
        self._cards = tuple(_closed(card) if card.name in kept else card for card in cards)
        self._closed = kept | {card.name for card in self._bare if card.used_units >= GPU_UNITS}

    def take(self, start: Start) -> Lease | None:
        """The lease for a job; see `ports.Leases`."""
        spares = self._spare.get(_share(start))
        held = spares.pop() if spares and not self._somebody_waits() else self._take_anew(start)
        if held is None:
            return None
        self._held[start.job.seq] = start, held
        return held.lease

    def _take_anew(self, start: Start) -> Held | None:
        job, gpus = start
        keys = tuple(self._keys[gpu] for gpu in gpus)
        if self._watch is not None:
            self.look()  # at the driver, while others may still allocate
        with self._folder.allocating():
            self._release_spares(gpus)
            self._look_at_leases()
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
        free_mib = fit.free_memory_mib(self._cards, ours) if asks_memory else None
        return set(start.gpus) <= set(
            fit.with_room(start.job, fit.load(self._cards, ours), free_mib)
        )

    def finish(self, job: Job) -> None:
        """The job is over; the next one on the same GPUs may have its lease."""
        start, held = self._held.pop(job.seq)
        self._spare.setdefault(_share(start), []).append(held)

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
        if hold is None or hold.until_s is not None or not self._others_are_in_the_way():
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

    def _others_are_in_the_way(self) -> bool:
        return any(card.used_units or card.leased_mib for card in self._cards)

    def _queue_up(self, want: Want) -> str:
        self._ticket = self._folder.add_ticket(want)
        from simple_gpu_scheduler.adapters import inotify  # costs time, and few ever wait

        try:
            self._wake_fd = inotify.watch_ends((self._folder.path, self._folder.waiting_path))
        except OSError:
            self._wake_fd = None
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
        if self._wake_fd is not None:
            os.close(self._wake_fd)
            self._wake_fd = None

    def _release_spares(self, gpus: Sequence[str] | None = None) -> None:
        """Give back spare leases; with `gpus` only those that hold one of these."""
        for share in list(self._spare):
            if gpus is None or not set(gpus).isdisjoint(share[0]):
                for held in self._spare.pop(share):
                    self._folder.release(held)

    def _all_held(self) -> Iterator[Held]:
        yield from (held for _, held in self._held.values())
        for spares in self._spare.values():
            yield from spares


def kept_free(cards: Sequence[Card], busy: Container[str], number: int) -> set[str]:
    """Cards that are not to be taken, so many, although nobody else has them.

    Args:
        busy: those on which we run already: they stay ours.
    """
    free = [card.name for card in cards if not card.used_units and card.name not in busy]
    return set(free[max(0, len(free) - number) :]) if number else set()


def _closed(card: Card) -> Card:
    return card._replace(used_units=GPU_UNITS)


def _less(card: Card, others: Taken | None) -> Card:
    """The card without what others have of it."""
    if others is None:
        return card
    return card._replace(
        used_units=min(GPU_UNITS, card.used_units + others.units),
        leased_mib=card.leased_mib + others.memory_mib,
    )


def _share(start: Start) -> _Share:
    return start.gpus, start.job.units, start.job.memory_mib


def _clock_time(wall_s: float) -> str:
    return time.strftime("%H:%M", time.localtime(wall_s))
