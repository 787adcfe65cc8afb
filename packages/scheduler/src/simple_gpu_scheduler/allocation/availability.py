"""What others leave of our GPUs: leases, those who wait, strangers, and the lease we are in."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.allocation.capacity import (
    closed,
    is_touched,
    kept_free,
    what_is_left,
    within,
)
from simple_gpu_scheduler.allocation.holders import describe_holders
from simple_gpu_scheduler.errors import HopelessError, SgsError, UsageError
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.leases.ledger import (
    ancestors,
    before,
    may_be_within,
    reservations,
    share_of,
    taken,
    translate_keys,
)
from simple_gpu_scheduler.leases.ports import LeaseStore
from simple_gpu_scheduler.leases.records import LeaseRecord, LeaseRequest, Ticket
from simple_gpu_scheduler.leases.waiter_timeout import WaiterTimeouts, Waiting
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.units.durations import format_since

if TYPE_CHECKING:
    from simple_gpu_scheduler.allocation.monitor import GpuMonitor


class Availability:
    """Our GPUs as others leave them, as last seen."""

    def __init__(
        self,
        book: LeaseStore,
        cards: Sequence[Card],
        keys: Mapping[str, str],
        *,
        uuids: Mapping[str, Sequence[str]] | None = None,
        inside: str | None = None,
        watch: GpuMonitor | None = None,
        keep_free: int = 0,
    ) -> None:
        """Look, with nothing of our own yet.

        Args:
            cards: our GPUs, with nothing taken.
            keys: the key in leases of each card's name.
            uuids: of all cards of the machine, or of their slices, by the cards' numbers, where
                the driver answers.
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
        self.book = book
        self.keys = dict(keys)
        self.watch = watch
        self.enclosing: LeaseRecord | None = None  #: the lease we are in, while it is ours
        self.barred: dict[str, str] = {}  #: cards that we can't ever have, and why
        self.closed: set[str] = set()  #: cards that we wouldn't take, whoever has them
        self.theirs: tuple[list[LeaseRecord], list[Ticket]] = ([], [])  #: and who goes before us
        self.parents: set[str | None] = set()  #: the tokens of leases with others in them
        self.others_are_in_the_way = False
        self._names = {key: name for name, key in keys.items()}
        self._uuids = dict(uuids or {})
        self._numbers = {uuid: number for number, all_ in self._uuids.items() for uuid in all_}
        self._came_inside = inside
        self._patience = WaiterTimeouts()
        self._keep_free = keep_free
        self._bare = tuple(cards)  # as the driver shows them
        self._room: Sequence[Card] = self._bare  # of that, what the lease that we are in leaves
        self.cards: Sequence[Card] = self._bare  #: with what others have of them
        self.refresh()

    def refresh(
        self,
        ours: Collection[str] = (),
        ticket: Ticket | None = None,
        busy: Collection[str] = (),
    ) -> None:
        """See what others hold now, and what the driver says.

        Args:
            ours: the tokens of our own leases.
            ticket: our own.
            busy: the cards on which we run.

        Raises:
            SgsError: leases can't be read.
        """
        leases = self._leases()
        self._read_driver(leases)
        self._reckon(leases, ours, ticket, busy)

    def read_driver(self) -> None:
        """See what the driver says, for the next `read_leases`."""
        if self.watch is not None:
            self._read_driver(self._leases())

    def read_leases(
        self, ours: Collection[str], ticket: Ticket | None, busy: Collection[str]
    ) -> None:
        """See what others hold now; see `refresh`."""
        self._reckon(self._leases(), ours, ticket, busy)

    @property
    def inside(self) -> str | None:
        """The token of the lease that we are in."""
        return None if self.enclosing is None else self.enclosing.token

    def sizes_mib(self) -> dict[str, int]:
        """What leases may have of each card together, by its key, where the driver tells."""
        return {
            self.keys[card.name]: card.memory_mib - card.strangers_mib
            for card in self._room
            if card.memory_mib is not None
        }

    def want(self, job: Job) -> LeaseRequest:
        """What the job could use: of other cards, nobody should keep one free for us."""
        need_mib = job.memory_mib or 0
        usable = [
            card.name
            for card in self._room
            if card.name not in self.closed and need_mib <= (card.memory_mib or need_mib)
        ]
        return self._want(usable, job)

    def grant(self, job: Job, gpus: Sequence[str]) -> LeaseRequest:
        """What a lease on just these cards says; within a lease, a part is a part of that."""
        want = self._want(gpus, job)
        if self.enclosing is None or set(want.gpus).isdisjoint(self.enclosing.gpus):
            return want
        return want._replace(units=share_of(want.units, self.enclosing))

    def check_hope(self, job: Job) -> None:
        """See that there are still the cards for the job.

        Raises:
            SgsError: all cards have failed.
            HopelessError: too many have, or aren't in the lease that we are in.
        """
        out = self.barred.keys() | (self.watch.faults.keys() if self.watch else set())
        if not out:
            return
        left = [card for card in self._room if card.name not in out]
        reasons = "; ".join([*self.barred.values(), self.faults()]).strip("; ")
        if not left and not self.barred:
            raise SgsError(f"no GPU is left to run on ({reasons})")
        reason = impossible(job, len(left), left)
        if reason is not None:
            raise HopelessError(f"{reason} ({reasons})")

    # in words

    def whom(self) -> set[int | str]:
        """Whom one waits for, to see whether they are others than before."""
        leases, tickets = self._in_the_way()
        strangers = self.watch.strangers.values() if self.watch is not None else ()
        pids = [one.pid for one in leases] + [one.pid for one in tickets]
        return {*pids, *strangers, self.faults()}

    def reasons(self) -> str:
        """Whom one waits for."""
        now_s = time.time()
        parts = [
            describe_holders(
                self._names, *self._in_the_way(), lambda then_s: format_since(then_s, now_s)
            )
        ]
        if self.watch is not None:
            parts += [*self.watch.strangers.values(), self.faults()]
        if self._keep_free:
            kept = "1 is" if self._keep_free == 1 else f"{self._keep_free} are"
            parts.append(f"{kept} kept free (--keep-free)")
        return "; ".join(part for part in parts if part)

    def faults(self) -> str:
        """Which cards have failed."""
        faults = self.watch.faults if self.watch is not None else {}
        return "; ".join(f"GPU {name} has failed: {why}" for name, why in faults.items())

    # how it is seen

    def _in_the_way(self) -> tuple[list[LeaseRecord], list[Ticket]]:
        """The others, but for the lease that we are in."""
        leases, tickets = self.theirs
        return [one for one in leases if one.token != self.inside], tickets

    def _leases(self) -> list[LeaseRecord]:
        """All leases, with the cards called as we call them."""
        return [
            one if gpus == one.gpus else one._replace(gpus=gpus)
            for one in self.book.leases()
            for gpus in (self._translate_keys(one.gpus, one.numbers),)
        ]

    def _tickets(self, own: Ticket | None) -> list[Ticket]:
        """Those who are to be served before us, likewise."""
        all_ = self.book.tickets()
        if own is not None:  # as others see it
            own = next((one for one in all_ if one.id == own.id), own)
        found: list[Ticket] = []
        for one in before(all_, own):
            if own is None or one.id != own.id:
                gpus = self._translate_keys(one.request.gpus, one.request.numbers)
                found.append(one._replace(request=one.request._replace(gpus=gpus)))
        return found

    def _translate_keys(self, gpus: Sequence[str], numbers: Sequence[str]) -> tuple[str, ...]:
        return translate_keys(gpus, numbers, self._names, self._uuids)

    def _read_driver(self, leases: Sequence[LeaseRecord]) -> None:
        if self.watch is not None:
            self._bare = tuple(self.watch.read(leases))

    def _reckon(
        self,
        leases: Sequence[LeaseRecord],
        ours: Collection[str],
        ticket: Ticket | None,
        busy: Collection[str],
    ) -> None:
        """What these leases, and those who wait, leave of our cards."""
        self.parents = {one.parent for one in leases}
        self._read_enclosing(ancestors(leases, self._came_inside))
        tickets = self._without_the_idle(leases, self._tickets(ticket))
        self.theirs = [one for one in leases if one.token not in ours], tickets
        found = taken(leases, tickets, ours=ours, inside=self.inside, sizes_mib=self.sizes_mib())
        cards = [what_is_left(card, found.get(self.keys[card.name])) for card in self._room]
        shut = kept_free(cards, busy, self._keep_free) | self.barred.keys()
        self.cards = tuple(closed(card) if card.name in shut else card for card in cards)
        self.closed = shut | {card.name for card in self._bare if card.used_units >= GPU_UNITS}
        self.others_are_in_the_way = any(map(is_touched, self.cards))

    def _without_the_idle(
        self, leases: Sequence[LeaseRecord], tickets: Sequence[Ticket]
    ) -> list[Ticket]:
        """The tickets but for those of users who don't take what leases leave them.

        Nobody is blamed for one that strangers use, or has failed.
        """
        if not tickets:
            return []
        kept = reservations(leases, tickets, inside=self.inside, sizes_mib=self.sizes_mib())
        seen, used = self._names.keys(), self._used()
        waits = {
            one.ticket.id: {Waiting(one.ticket.uid, gpu) for gpu in one.gpus if gpu in seen}
            for one in kept
        }
        due = {
            wait
            for one in kept
            if one.is_due and used.isdisjoint(one.gpus)
            for wait in waits[one.ticket.id]
        }
        waiting = {
            wait: frozenset(
                one.token for one in leases if one.uid == wait.uid and wait.gpu in one.gpus
            )
            for wait in set().union(*waits.values())
        }
        passed = self._patience.timed_out(waiting, due, time.monotonic())
        return [one for one in tickets if waits[one.id].isdisjoint(passed)]

    def _used(self) -> set[str]:
        """The cards that strangers use, or that have failed: nobody is to blame for waiting."""
        if self.watch is None:
            return set()
        return {self.keys[name] for name in (*self.watch.people, *self.watch.faults)}

    def _read_enclosing(self, chain: Sequence[LeaseRecord]) -> None:
        """What the lease that we are in leaves us of our cards, whoever else is on them.

        Args:
            chain: that lease and those that it is in.
        """
        self.enclosing, self._room, self.barred = None, self._bare, {}
        if not chain or not may_be_within(self.book.uid, chain[0]):
            return
        self.enclosing = enclosing = chain[0]
        own = set(enclosing.gpus)
        self._room = tuple(
            within(card, enclosing) if self.keys[card.name] in own else card for card in self._bare
        )
        above = {gpu for one in chain[1:] if one.units >= GPU_UNITS for gpu in one.gpus}
        for name, key in self.keys.items():
            if key not in own and (enclosing.units < GPU_UNITS or key in above):
                self.barred[name] = f"GPU {name} isn't in the lease that this runs in"

    def _want(self, gpus: Sequence[str], job: Job) -> LeaseRequest:
        keys = tuple(self.keys[gpu] for gpu in gpus)
        numbers = tuple(self._numbers.get(key, "") for key in keys) if self._numbers else ()
        return LeaseRequest(keys, job.gpus, job.units, job.memory_mib, numbers)
