"""What others leave of our GPUs: leases, tickets, foreign processes, and the lease we run in."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.allocation.capacity import (
    closed,
    is_touched,
    kept_free,
    within,
    without_share,
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
from simple_gpu_scheduler.leases.waiter_timeout import WaiterTimeouts
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.units.durations import format_since

if TYPE_CHECKING:
    from simple_gpu_scheduler.allocation.monitor import GpuMonitor


class Availability:
    """Our GPUs less what others have of them, as last read."""

    def __init__(
        self,
        store: LeaseStore,
        cards: Sequence[Card],
        keys: Mapping[str, str],
        *,
        uuids: Mapping[str, Sequence[str]] | None = None,
        inside: str | None = None,
        monitor: GpuMonitor | None = None,
        keep_free: int = 0,
    ) -> None:
        """Read leases, tickets and the driver, before we hold anything.

        Args:
            store: where leases are.
            cards: our GPUs, with nothing taken.
            keys: the key in leases of each GPU, by its name.
            uuids: the UUIDs of all GPUs of the machine, or of their slices, by the GPUs' numbers;
                None without a driver.
            inside: the token of the lease that we run in.
            monitor: what the driver reports of our GPUs; None without a driver.
            keep_free: take no GPU if fewer than this would stay free for others.

        Raises:
            UsageError: no GPU could ever be taken.
            SgsError: leases can't be read.
        """
        if keep_free >= max(1, len(cards)):
            raise UsageError(
                f"--keep-free {keep_free}: no GPU would ever be taken, as there "
                f"{'is' if len(cards) == 1 else 'are'} {len(cards)} to choose from"
            )
        self.store = store
        self.keys = dict(keys)
        self.monitor = monitor
        self.enclosing: LeaseRecord | None = None  #: the lease that we run in, while it lives
        self.unusable: dict[str, str] = {}  #: GPUs that we can never have, and why
        self.closed: set[str] = set()  #: GPUs that we don't take, even if nobody has them
        self.other_leases: list[LeaseRecord] = []  #: all but ours
        self.earlier_tickets: list[Ticket] = []  #: to be served before us
        self.parents: set[str | None] = set()  #: the tokens of leases with others in them
        self.is_contended = False  #: others have a part of our GPUs
        self._names = {key: name for name, key in keys.items()}
        self._uuids = dict(uuids or {})
        self._numbers = {
            uuid: number for number, gpu_uuids in self._uuids.items() for uuid in gpu_uuids
        }
        self._started_inside = inside
        self._timeouts = WaiterTimeouts()
        self._keep_free = keep_free
        self._reported = tuple(cards)  # as the driver reports them
        self._usable: Sequence[Card] = self._reported  # of that, what the enclosing lease allows
        self.cards: Sequence[Card] = self._reported  #: of that, what others leave
        self.refresh()

    def refresh(
        self,
        ours: Collection[str] = (),
        ticket: Ticket | None = None,
        busy: Collection[str] = (),
    ) -> None:
        """Read leases and tickets, and ask the driver.

        Args:
            ours: the tokens of our own leases.
            ticket: our own ticket.
            busy: the names of the GPUs on which we run jobs.

        Raises:
            SgsError: leases can't be read.
        """
        leases = self._leases()
        self._read_monitor(leases)
        self._update(leases, ours, ticket, busy)

    def read_driver(self) -> None:
        """Ask the driver only; the next `read_leases` uses its answer."""
        if self.monitor is not None:
            self._read_monitor(self._leases())

    def read_leases(
        self, ours: Collection[str], ticket: Ticket | None, busy: Collection[str]
    ) -> None:
        """Read leases and tickets only; see `refresh`."""
        self._update(self._leases(), ours, ticket, busy)

    @property
    def inside(self) -> str | None:
        """The token of the lease that we run in."""
        return None if self.enclosing is None else self.enclosing.token

    def sizes_mib(self) -> dict[str, int]:
        """The memory of each GPU that all leases together may have, by key; unknown ones lack."""
        return {
            self.keys[card.name]: card.memory_mib - card.strangers_mib
            for card in self._usable
            if card.memory_mib is not None
        }

    def ticket_request(self, job: Job) -> LeaseRequest:
        """The request for a ticket: all GPUs that the job could use.

        It leaves out GPUs that are of no use to the job, so that nobody keeps them free for us.
        """
        need_mib = job.memory_mib or 0
        names = [
            card.name
            for card in self._usable
            if card.name not in self.closed and need_mib <= (card.memory_mib or need_mib)
        ]
        return self._request(names, job)

    def lease_request(self, job: Job, gpus: Sequence[str]) -> LeaseRequest:
        """The request for a lease on just these GPUs.

        Within a lease, the job's share is a share of that lease.
        """
        request = self._request(gpus, job)
        if self.enclosing is None or set(request.gpus).isdisjoint(self.enclosing.gpus):
            return request
        return request._replace(units=share_of(request.units, self.enclosing))

    def check_possible(self, job: Job) -> None:
        """Check that enough GPUs are left for the job to run some day.

        Raises:
            SgsError: all GPUs have failed.
            HopelessError: too few are left: GPUs have failed, or aren't in the lease we run in.
        """
        out = self.unusable.keys() | (self.monitor.faults.keys() if self.monitor else set())
        if not out:
            return
        left = [card for card in self._usable if card.name not in out]
        reasons = "; ".join([*self.unusable.values(), self._faults()]).strip("; ")
        if not left and not self.unusable:
            raise SgsError(f"no GPU is left to run on ({reasons})")
        reason = impossible(job, len(left), left)
        if reason is not None:
            raise HopelessError(f"{reason} ({reasons})")

    # messages

    def blockers(self) -> set[int | str]:
        """Whom and what we wait for, to compare with an earlier wait: pids and sentences."""
        pids = [lease.pid for lease in self._blocking_leases()]
        pids += [ticket.pid for ticket in self.earlier_tickets]
        busy = self.monitor.busy.values() if self.monitor is not None else ()
        return {*pids, *busy, self._faults()}

    def describe_blockers(self) -> str:
        """Whom and what we wait for, for the user."""
        now_s = time.time()
        holders = describe_holders(
            self._names,
            self._blocking_leases(),
            self.earlier_tickets,
            lambda then_s: format_since(then_s, now_s),
        )
        parts = [holders]
        if self.monitor is not None:
            parts += [*self.monitor.busy.values(), self._faults()]
        if self._keep_free:
            kept = "1 is" if self._keep_free == 1 else f"{self._keep_free} are"
            parts.append(f"{kept} kept free (--keep-free)")
        return "; ".join(part for part in parts if part)

    def _faults(self) -> str:
        faults = self.monitor.faults if self.monitor is not None else {}
        return "; ".join(f"GPU {name} has failed: {fault}" for name, fault in faults.items())

    def _blocking_leases(self) -> list[LeaseRecord]:
        """The leases of others, without the one that we run in."""
        return [lease for lease in self.other_leases if lease.token != self.inside]

    # reading

    def _leases(self) -> list[LeaseRecord]:
        """All leases, with our keys of GPUs."""
        return [
            lease if gpus == lease.gpus else lease._replace(gpus=gpus)
            for lease in self.store.leases()
            for gpus in (self._translate_keys(lease.gpus, lease.numbers),)
        ]

    def _tickets(self, own: Ticket | None) -> list[Ticket]:
        """The tickets before ours, with our keys of GPUs."""
        all_tickets = self.store.tickets()
        if own is not None:  # our place is what other programs read of our ticket
            own = next((ticket for ticket in all_tickets if ticket.id == own.id), own)
        tickets: list[Ticket] = []
        for ticket in before(all_tickets, own):
            if own is None or ticket.id != own.id:
                request = ticket.request
                gpus = self._translate_keys(request.gpus, request.numbers)
                tickets.append(ticket._replace(request=request._replace(gpus=gpus)))
        return tickets

    def _translate_keys(self, gpus: Sequence[str], numbers: Sequence[str]) -> tuple[str, ...]:
        return translate_keys(gpus, numbers, self._names, self._uuids)

    def _read_monitor(self, leases: Sequence[LeaseRecord]) -> None:
        if self.monitor is not None:
            self._reported = tuple(self.monitor.read(leases))

    def _update(
        self,
        leases: Sequence[LeaseRecord],
        ours: Collection[str],
        ticket: Ticket | None,
        busy: Collection[str],
    ) -> None:
        """Compute what these leases, and the tickets before ours, leave of our GPUs."""
        self.parents = {lease.parent for lease in leases}
        self._read_enclosing(ancestors(leases, self._started_inside))
        tickets = self._without_timed_out(leases, self._tickets(ticket))
        self.other_leases = [lease for lease in leases if lease.token not in ours]
        self.earlier_tickets = tickets
        shares = taken(leases, tickets, ours=ours, inside=self.inside, sizes_mib=self.sizes_mib())
        cards = [without_share(card, shares.get(self.keys[card.name])) for card in self._usable]
        untaken = kept_free(cards, busy, self._keep_free) | self.unusable.keys()
        self.cards = tuple(closed(card) if card.name in untaken else card for card in cards)
        full = {card.name for card in self._reported if card.used_units >= GPU_UNITS}
        self.closed = untaken | full
        self.is_contended = any(map(is_touched, self.cards))

    def _without_timed_out(
        self, leases: Sequence[LeaseRecord], tickets: Sequence[Ticket]
    ) -> list[Ticket]:
        """The tickets without those of users who don't take what leases leave them."""
        if not tickets:
            return []
        reserved = reservations(leases, tickets, inside=self.inside, sizes_mib=self.sizes_mib())
        late = self._timeouts.late_tickets(
            leases,
            reserved,
            gpus=self._names.keys(),
            blocked=self._blocked(),
            now_s=time.monotonic(),
        )
        return [ticket for ticket in tickets if ticket.id not in late]

    def _blocked(self) -> set[str]:
        """GPUs that foreign processes use, or that have failed: a waiter can't take them."""
        if self.monitor is None:
            return set()
        return {self.keys[name] for name in (*self.monitor.foreign_use, *self.monitor.faults)}

    def _read_enclosing(self, chain: Sequence[LeaseRecord]) -> None:
        """Compute what the lease that we run in allows us of our GPUs.

        Args:
            chain: the lease that we run in, the lease around that one, and so on.
        """
        self.enclosing, self._usable, self.unusable = None, self._reported, {}
        if not chain or not may_be_within(self.store.uid, chain[0]):
            return
        self.enclosing = enclosing = chain[0]
        own = set(enclosing.gpus)
        self._usable = tuple(
            within(card, enclosing) if self.keys[card.name] in own else card
            for card in self._reported
        )
        outer = {gpu for lease in chain[1:] if lease.units >= GPU_UNITS for gpu in lease.gpus}
        for name, key in self.keys.items():
            if key not in own and (enclosing.units < GPU_UNITS or key in outer):
                self.unusable[name] = f"GPU {name} isn't in the lease that this runs in"

    def _request(self, gpus: Sequence[str], job: Job) -> LeaseRequest:
        keys = tuple(self.keys[gpu] for gpu in gpus)
        numbers = tuple(self._numbers.get(key, "") for key in keys) if self._numbers else ()
        return LeaseRequest(keys, job.gpus, job.units, job.memory_mib, numbers)
