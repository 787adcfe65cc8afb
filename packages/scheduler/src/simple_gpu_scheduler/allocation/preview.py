"""What a scheduler that starts now would see. Nothing is created: no lease, no ticket."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

from simple_gpu_scheduler.allocation.holders import (
    Holders,
    describe_leases,
    describe_tickets,
    find_holders,
)
from simple_gpu_scheduler.allocation.opening import open_availability
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.gpus.selection import GpuSelection
from simple_gpu_scheduler.leases.directory import lease_dir
from simple_gpu_scheduler.leases.records import LeaseRecord, Ticket
from simple_gpu_scheduler.leases.store import FileLeaseStore
from simple_gpu_scheduler.policy.explain import GpuClaims


class Preview:
    """What others leave of our GPUs at one moment, and who they are."""

    def __init__(
        self,
        selection: GpuSelection,
        *,
        avoid_foreign: bool,
        keep_free: int,
        scheduler: int | None = None,
        ours: Callable[[LeaseRecord], bool] = lambda _: False,
        busy: Collection[str] = (),
        **idle_limits: Any,
    ) -> None:
        """Read leases, tickets and the driver, once.

        Args:
            selection: our GPUs.
            avoid_foreign: see `GpuMonitor`.
            keep_free: see `Availability`.
            scheduler: the pid of a running scheduler; count only the tickets before its own.
            ours: True for a lease of that scheduler; such leases count as free.
            busy: the GPUs on which that scheduler runs jobs.
            idle_limits: see `GpuMonitor`.

        Raises:
            UsageError: no GPU could ever be taken.
            SgsError: leases can't be read, or couldn't be kept here.
        """
        self._availability = open_availability(
            selection,
            _FrozenStore(scheduler),
            inside=os.environ.get(LEASE_VARIABLE),
            keep_free=keep_free,
            avoid_foreign=avoid_foreign,
            **idle_limits,
        )
        own = {lease.token for lease in self._availability.other_leases if ours(lease)}
        if own:
            self._availability.refresh(own, busy=busy)
        self._avoid_foreign = avoid_foreign
        self.cards = self._availability.cards  #: our GPUs, less what others have of them

    def claims(self, when: Callable[[float], str]) -> dict[str, GpuClaims]:
        """Who has what of each GPU, by its name.

        Args:
            when: renders a time on the wall clock.
        """
        availability = self._availability
        holders = find_holders(
            availability.other_leases,
            availability.earlier_tickets,
            availability.inside,
            availability.sizes_mib(),
        )
        return {
            name: self._claims_on(name, holders.get(key, Holders()), when)
            for name, key in availability.keys.items()
        }

    def _claims_on(self, name: str, holders: Holders, when: Callable[[float], str]) -> GpuClaims:
        monitor = self._availability.monitor
        fault = monitor.faults.get(name, "") if monitor else ""
        barred = monitor is not None and self._avoid_foreign and name in monitor.busy
        is_unusable = name in self._availability.unusable
        return GpuClaims(
            fault,
            describe_leases(holders.leases, when),
            describe_tickets(holders.tickets),
            monitor.foreign_use.get(name, "") if monitor else "",
            barred=barred,
            kept=name in self._availability.closed and not (fault or barred or is_unusable),
        )


class _FrozenStore(FileLeaseStore):
    """The leases and tickets as they were at one moment. The directory isn't created for that."""

    def __init__(self, scheduler: int | None) -> None:
        self.uid = os.geteuid()
        self._frozen_leases: list[LeaseRecord] = []
        self._frozen_tickets: list[Ticket] = []
        if os.path.lexists(lease_dir()):
            super().__init__()  # raises if others couldn't use the directory
            self._frozen_leases = super().leases()
            self._frozen_tickets = _before(scheduler, super().tickets())

    def leases(self) -> list[LeaseRecord]:
        """All leases at that moment."""
        return self._frozen_leases

    def tickets(self) -> list[Ticket]:
        """The tickets to be served first, at that moment."""
        return self._frozen_tickets


def _before(scheduler: int | None, tickets: list[Ticket]) -> list[Ticket]:
    """The tickets before those of the scheduler; all of them if it has none."""
    own_ns = [ticket.since_ns for ticket in tickets if ticket.pid == scheduler]
    if not own_ns:
        return tickets
    return [ticket for ticket in tickets if ticket.since_ns < min(own_ns)]
