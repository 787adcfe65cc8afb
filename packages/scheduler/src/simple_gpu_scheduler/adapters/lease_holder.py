"""The leases of one scheduler or program: taken when a job starts, passed on from job to job.

A job that ends leaves its lease to the next job with the same share of the same GPUs, unless
somebody else waits for them, or something may have changed on them: no file is added then. What no
job uses is given back at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from simple_gpu_scheduler.adapters.output import drain
from simple_gpu_scheduler.availability import (
    closed,
    is_touched,
    kept_free,
    what_is_left,
    within,
)
from simple_gpu_scheduler.errors import HopelessError, SgsError, UsageError
from simple_gpu_scheduler.lease_ports import Held, LeaseBook
from simple_gpu_scheduler.leasing import (
    LeaseRecord,
    Ticket,
    Want,
    ancestors,
    as_ours,
    before,
    describe_holders,
    may_be_within,
    share_of,
    taken,
)
from simple_gpu_scheduler.model import GPU_UNITS, Card, Hold, Job, Start
from simple_gpu_scheduler.policy import fit
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.ports import Lease

if TYPE_CHECKING:
    from simple_gpu_scheduler.adapters.card_watch import CardWatch

#: Where the kernel has no more inotify instances for this user.
_LOOK_AGAIN_S = 0.5

#: Nobody says when a stranger has gone from a card, or somebody who waits was stopped.
_LOOK_AT_OTHERS_S = 2.0

#: The kernel tells of the end of a lease just before it is over.
_LOOK_TWICE_S = (0.05, 1.0)

#: A lease is passed on no longer than this: what an earlier job left behind, or a stranger began,
#: is seen when the next one is taken.
_PASSED_ON_S = 1.0

_Share = tuple[tuple[str, ...], int, int | None]


class _Own(NamedTuple):
    """A lease of ours, and since when it is what was seen of its cards."""

    start: Start
    held: Held
    since_s: float

    @property
    def share(self) -> _Share:
        job = self.start.job
        return self.start.gpus, job.units, job.memory_mib


class LeaseHolder:
    """Implements `ports.Leases` over a `LeaseBook`."""

    def __init__(
        self,
        book: LeaseBook,
        cards: Sequence[Card],
        keys: Mapping[str, str],
        *,
        uuids: Mapping[str, Sequence[str]] | None = None,
        kind: str = "job",
        inside: str | None = None,
        watch: CardWatch | None = None,
        keep_free: int = 0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at what others hold.

        Args:
            cards: our GPUs, with nothing taken.
            keys: the key in leases of each card's name.
            uuids: of all cards of the machine, or of their slices, by the cards' numbers, where
                the driver answers.
            kind: what the leases are for: job, shell, notebook, python.
            inside: the token of the lease that we ourselves run in.
            watch: tells what the driver knows of our cards, where there is one.
            keep_free: take no card if that would leave others fewer free ones.

        Raises:
            UsageError: nothing could ever be taken.
            SgsError: leases can't be read.
        """
        if keep_free >= max(1, len(cards)):
            raise UsageError(
                f"--keep-free {keep_free}: no GPU would ever be taken, as there "
                f"{'is' if len(cards) == 1 else 'are'} {len(cards)} to choose from"
            )
        self._book = book
        self._bare = tuple(cards)
        self._room: Sequence[Card] = self._bare  # within the lease that we are in
        self._keys = dict(keys)
        self._names = {key: name for name, key in keys.items()}
        self._uuids = dict(uuids or {})
        self._numbers = {uuid: number for number, all_ in self._uuids.items() for uuid in all_}
        self._kind = kind
        self._came_inside = inside
        self._enclosing: LeaseRecord | None = None  # as long as that lease lives, and is ours
        self._barred: dict[str, str] = {}  # cards that we can't ever have, and why
        self._watch = watch
        self._keep_free = keep_free
        self._now_s = now_s
        self._held: dict[int, _Own] = {}  # by the job's number
        self._spare: list[_Own] = []
        self._ticket: tuple[Held, Ticket] | None = None
        self.cards: Sequence[Card] = self._bare  #: with what others have of them, as last seen
        self.wake_fd: int | None = None  #: see `ports.Leases`
        self._others_are_in_the_way = False
        self._closed: set[str] = set()  # cards that we wouldn't take, whoever has them
        self._theirs: tuple[list[LeaseRecord], list[Ticket]] = ([], [])
        self._parents: set[str | None] = set()  # leases with others in them
        self._told: set[int | str] = set()
        self._looks_s: tuple[float, ...] = ()  # how soon to look again, as something was told
        self.look()

    @property
    def look_again_s(self) -> float | None:
        """See `ports.Leases`."""
        if self._ticket is None:
            return None
        if self.wake_fd is None:
            return _LOOK_AGAIN_S
        if self._looks_s:
            return self._looks_s[0]
        behind_others = bool(self._theirs[1])
        return _LOOK_AT_OTHERS_S if self._watch is not None or behind_others else None

    def look(self) -> None:
        """See what others hold now, and what the driver says."""
        told = self.wake_fd is not None and drain(self.wake_fd)
        self._looks_s = _LOOK_TWICE_S if told else self._looks_s[1:]
        leases = self._leases()
        self._look_at_driver(leases)
        self._reckon(leases)

    def _leases(self) -> list[LeaseRecord]:
        """All leases, with the cards called as we call them."""
        return [self._as_ours(one) for one in self._book.leases()]

    def _as_ours(self, lease: LeaseRecord) -> LeaseRecord:
        gpus = as_ours(lease.gpus, lease.numbers, self._names, self._uuids)
        return lease if gpus == lease.gpus else lease._replace(gpus=gpus)

    def _tickets(self) -> list[Ticket]:
        """Those who are to be served before us, likewise."""
        own = None if self._ticket is None else self._ticket[1]
        return [
            one._replace(want=one.want._replace(gpus=self._ours(one.want)))
            for one in before(self._book.tickets(), own)
            if own is None or one.id != own.id
        ]

    def _ours(self, want: Want) -> tuple[str, ...]:
        return as_ours(want.gpus, want.numbers, self._names, self._uuids)

    def _look_at_driver(self, leases: Sequence[LeaseRecord]) -> None:
        if self._watch is not None:
            self._bare = tuple(self._watch.look(leases))

    def _reckon(self, leases: Sequence[LeaseRecord]) -> None:
        """What these leases, and those who wait, leave of our cards."""
        chain = ancestors(leases, self._came_inside)
        self._enclosing = chain[0] if chain and may_be_within(self._book.uid, chain[0]) else None
        self._parents = {one.parent for one in leases}
        self._look_around(chain)
        ours = {own.held.lease.id for own in self._all_own()}
        tickets = self._tickets()
        inside = self._inside
        found = taken(leases, tickets, ours=ours, inside=inside, sizes_mib=self._sizes_mib())
        self._theirs = [one for one in leases if one.token not in ours], tickets
        cards = [what_is_left(card, found.get(self._keys[card.name])) for card in self._room]
        busy = {gpu for own in self._held.values() for gpu in own.start.gpus}
        kept = kept_free(cards, busy, self._keep_free)
        shut = kept | self._barred.keys()
        self.cards = tuple(closed(card) if card.name in shut else card for card in cards)
        self._closed = shut | {card.name for card in self._bare if card.used_units >= GPU_UNITS}
        self._others_are_in_the_way = any(map(is_touched, self.cards))

    @property
    def _inside(self) -> str | None:
        return None if self._enclosing is None else self._enclosing.token

    def _look_around(self, chain: Sequence[LeaseRecord]) -> None:
        """What the lease that we are in leaves us of our cards, whoever else is on them."""
        enclosing, self._room, self._barred = self._enclosing, self._bare, {}
        if enclosing is None:
            return
        own = set(enclosing.gpus)
        self._room = tuple(
            within(card, enclosing) if self._keys[card.name] in own else card
            for card in self._bare
        )
        share = enclosing.units < GPU_UNITS
        above = {gpu for one in chain[1:] if one.units >= GPU_UNITS for gpu in one.gpus}
        for name, key in self._keys.items():
            if key not in own and (share or key in above):
                self._barred[name] = f"GPU {name} isn't in the lease that this runs in"

    def _sizes_mib(self) -> dict[str, int]:
        """What leases may have of each card together, where the driver tells."""
        return {
            self._keys[card.name]: card.memory_mib - card.strangers_mib
            for card in self._room
            if card.memory_mib is not None
        }

    def take(self, start: Start) -> Lease | None:
        """The lease for a job; see `ports.Leases`."""
        own = self._passed_on(start) or self._take_anew(start)
        return None if own is None else own.held.lease

    def _passed_on(self, start: Start) -> _Own | None:
        """The lease of a job that has ended, if it is just what this one needs."""
        fresh_s = self._now_s() - _PASSED_ON_S
        for spare in self._spare:
            asked = _Own(start, spare.held, spare.since_s)
            if spare.share == asked.share and spare.since_s > fresh_s and self._is_alone(spare):
                held = self._book.pass_on(spare.held)
                if held is None:  # somebody has taken or given back one since we looked
                    return None
                self._spare.remove(spare)
                self._held[start.job.seq] = own = asked._replace(held=held)
                return own
        return None

    def _is_alone(self, spare: _Own) -> bool:
        """True if nobody waits, and nobody had a lease within it when we looked."""
        return not self._somebody_waits() and spare.held.lease.id not in self._parents

    def _take_anew(self, start: Start) -> _Own | None:
        job, gpus = start
        if self._watch is not None:  # it takes its time: others may still allocate
            self._look_at_driver(self._leases())
        with self._book.allocating():
            self._release_spares(gpus)
            self._reckon(self._leases())
            if not self._fits(start):
                return None
            want = self._want_of(tuple(self._keys[gpu] for gpu in gpus), job)
            want = want._replace(units=self._share(want))
            held = self._book.add_lease(want, self._kind, self._inside)
            self._held[job.seq] = own = _Own(start, held, self._now_s())
        if self._ticket is None or self._is_for(self._ticket[1].want, job):
            self._withdraw()  # served: if another job has to wait, it does so behind the others
        return own

    def _share(self, want: Want) -> int:
        """What a share of the lease that we are in is of the card."""
        if self._enclosing is None or set(want.gpus).isdisjoint(self._enclosing.gpus):
            return want.units
        return share_of(want.units, self._enclosing)

    def _is_for(self, want: Want, job: Job) -> bool:
        """True if this is what we waited for, and not a job that passes by."""
        return want[1:4] == (job.gpus, job.units, job.memory_mib)

    def _fits(self, start: Start) -> bool:
        """True if others leave enough, and so do our own jobs."""
        ours = [own.start for own in self._held.values()]
        asks_memory = start.job.memory_mib is not None
        free_mib = fit.free_memory_mib(self.cards, ours) if asks_memory else None
        return set(start.gpus) <= set(
            fit.with_room(start.job, fit.load(self.cards, ours), free_mib)
        )

    def finish(self, job: Job, *, reuse: bool = True) -> None:
        """The job is over; see `ports.Leases`."""
        own = self._held.pop(job.seq)
        if reuse:
            self._spare.append(own)
        else:
            self._book.release(own.held)

    def close(self) -> None:
        """Give everything back."""
        self._withdraw()
        self._release_spares()
        for seq in tuple(self._held):
            self._book.release(self._held.pop(seq).held)

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
        if hold is not None:
            self._check_hope(hold.job)
        if self._spare and not (hold and hold.job.gpus > 1 and not self._somebody_waits()):
            self._release_spares()
        if hold is None or not self._waits_for_others(hold):
            self._withdraw()
            return None
        want = self._want(hold.job)
        if self._ticket is None:
            return self._queue_up(want)
        if self._ticket[1].want != want:
            self._queue_anew(want, *self._ticket)
        return None

    def _check_hope(self, job: Job) -> None:
        """See that there are still the cards for the job.

        Raises:
            SgsError: all cards have failed.
            HopelessError: too many have, or aren't in the lease that we are in.
        """
        out = self._barred.keys() | (self._watch.faults.keys() if self._watch else set())
        if not out:
            return
        left = [card for card in self._room if card.name not in out]
        reasons = "; ".join([*self._barred.values(), self._faults()]).strip("; ")
        if not left and not self._barred:
            raise SgsError(f"no GPU is left to run on ({reasons})")
        reason = impossible(job, len(left), left)
        if reason is not None:
            raise HopelessError(f"{reason} ({reasons})")

    def _waits_for_others(self, hold: Hold) -> bool:
        if hold.until_s is not None:
            return False
        asks_memory = hold.job.memory_mib is not None and self._watch is not None
        return self._others_are_in_the_way or asks_memory

    def _want(self, job: Job) -> Want:
        """What the job could use: of other cards, nobody should keep one free for us."""
        need_mib = job.memory_mib or 0
        usable = [
            self._keys[card.name]
            for card in self._room
            if card.name not in self._closed and need_mib <= (card.memory_mib or need_mib)
        ]
        return self._want_of(tuple(usable), job)

    def _want_of(self, keys: tuple[str, ...], job: Job) -> Want:
        numbers = tuple(self._numbers.get(key, "") for key in keys) if self._numbers else ()
        return Want(keys, job.gpus, job.units, job.memory_mib, numbers)

    def _queue_anew(self, want: Want, held: Held, ticket: Ticket) -> None:
        """Wait for something else, in the same place."""
        with self._book.allocating():
            self._ticket = self._book.add_ticket(want, ticket.since_ns, self._inside)
        self._book.release(held)

    def warn(self) -> str | None:
        """Who uses our cards without a lease; for those who take them nevertheless."""
        return "; ".join(self._watch.strangers.values()) or None if self._watch else None

    def _somebody_waits(self) -> bool:
        return self._book.somebody_waits(self._ticket and self._ticket[1].id)

    def _queue_up(self, want: Want) -> str:
        with self._book.allocating():
            self._ticket = self._book.add_ticket(want, inside=self._inside)
        self.wake_fd = self._book.watch()
        self.look()  # what changed before the watch began
        return self._news()

    def _news(self) -> str:
        """Whom we wait for, in words; empty if that was said before."""
        leases, tickets = self._in_the_way()
        strangers = self._watch.strangers.values() if self._watch is not None else ()
        pids = [one.pid for one in leases] + [one.pid for one in tickets]
        who = {*pids, *strangers, self._faults()}
        if who <= self._told:
            return ""
        self._told |= who
        return self.reasons()

    def reasons(self) -> str:
        """Whom we wait for, in words."""
        parts = [describe_holders(self._names, *self._in_the_way(), _clock_time)]
        if self._watch is not None:
            parts += [*self._watch.strangers.values(), self._faults()]
        if self._keep_free:
            kept = "1 is" if self._keep_free == 1 else f"{self._keep_free} are"
            parts.append(f"{kept} kept free (--keep-free)")
        return "; ".join(part for part in parts if part)

    def _in_the_way(self) -> tuple[list[LeaseRecord], list[Ticket]]:
        """The others, but for the lease that we are in."""
        leases, tickets = self._theirs
        return [one for one in leases if one.token != self._inside], tickets

    def _faults(self) -> str:
        faults = self._watch.faults if self._watch is not None else {}
        return "; ".join(f"GPU {name} has failed: {why}" for name, why in faults.items())

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

    def _all_own(self) -> Iterator[_Own]:
        yield from self._held.values()
        yield from self._spare


def _clock_time(wall_s: float) -> str:
    return time.strftime("%H:%M", time.localtime(wall_s))
