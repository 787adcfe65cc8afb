"""A look at what a scheduler would see that began now: it takes no lease and joins no queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

from simple_gpu_scheduler.allocation.holders import (
    Holders,
    describe_leases,
    describe_tickets,
    who_has,
)
from simple_gpu_scheduler.allocation.opening import open_availability
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.gpus.selection import GpuSelection
from simple_gpu_scheduler.leases.directory import lease_dir
from simple_gpu_scheduler.leases.records import LeaseRecord, Ticket
from simple_gpu_scheduler.leases.store import FileLeaseStore
from simple_gpu_scheduler.policy.explain import GpuClaims


class Preview:
    """What others leave of our GPUs, and who they are."""

    def __init__(
        self,
        chosen: GpuSelection,
        *,
        avoid_strangers: bool,
        keep_free: int,
        scheduler: int | None = None,
        ours: Callable[[LeaseRecord], bool] = lambda _: False,
        busy: Collection[str] = (),
        **idle: Any,
    ) -> None:
        """Look, once.

        Args:
            chosen: our GPUs.
            avoid_strangers: as in `GpuMonitor`, and so are the settings of `idle`.
            keep_free: as in `Availability`.
            scheduler: the process of a scheduler that runs, to see who goes before it.
            ours: tells the leases that are that scheduler's: they are as good as free.
            busy: the cards on which it runs jobs.

        Raises:
            UsageError: nothing could ever be taken.
            SgsError: leases can't be read, or couldn't be kept here.
        """
        self._view = open_availability(
            chosen,
            _SeenOnce(scheduler),
            inside=os.environ.get(LEASE_VARIABLE),
            keep_free=keep_free,
            avoid_strangers=avoid_strangers,
            **idle,
        )
        leases, _ = self._view.theirs
        if own := {one.token for one in leases if ours(one)}:
            self._view.refresh(own, busy=busy)
        self._avoid_strangers = avoid_strangers
        self.cards = self._view.cards  #: our GPUs, with what others have of them

    def known(self, when: Callable[[float], str]) -> dict[str, GpuClaims]:
        """Who has what of each GPU, by its name.

        Args:
            when: renders a time on the wall clock.
        """
        view = self._view
        found = who_has(*view.theirs, view.inside, view.sizes_mib())
        return {name: self._known(name, found.get(key), when) for name, key in view.keys.items()}

    def _known(self, name: str, found: Holders | None, when: Callable[[float], str]) -> GpuClaims:
        leases, tickets = found or Holders()
        watch = self._view.watch
        fault = watch.faults.get(name, "") if watch else ""
        barred = watch is not None and self._avoid_strangers and name in watch.strangers
        elsewhere = self._view.barred.get(name)
        return GpuClaims(
            fault,
            describe_leases(leases, when),
            describe_tickets(tickets),
            watch.people.get(name, "") if watch else "",
            barred=barred,
            kept=name in self._view.closed and not (fault or barred or elsewhere),
        )


class _SeenOnce(FileLeaseStore):
    """The leases as they were at one moment; nothing is created for that."""

    def __init__(self, scheduler: int | None) -> None:
        self.uid = os.geteuid()
        self._seen_once: tuple[list[LeaseRecord], list[Ticket]] = [], []
        if os.path.lexists(lease_dir()):
            super().__init__()  # what others couldn't use is an error here, too
            self._seen_once = super().leases(), _before(scheduler, super().tickets())

    def leases(self) -> list[LeaseRecord]:
        """All that lived at that moment."""
        return self._seen_once[0]

    def tickets(self) -> list[Ticket]:
        """All who waited at that moment."""
        return self._seen_once[1]


def _before(scheduler: int | None, tickets: list[Ticket]) -> list[Ticket]:
    """Those who go before it, if it waits itself; who comes now comes last."""
    own_ns = [one.since_ns for one in tickets if one.pid == scheduler]
    return [one for one in tickets if one.since_ns < min(own_ns)] if own_ns else tickets
