"""The leases of one scheduler or program: taken when a job starts, passed on from job to job.

A job that ends leaves its lease to the next job with the same share of the same GPUs, unless
somebody else waits for them: no file is touched then. What no job uses is given back at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence

from simple_gpu_scheduler.adapters.leases import Held, LeaseDir
from simple_gpu_scheduler.adapters.output import drain
from simple_gpu_scheduler.leasing import (
    LeaseRecord,
    Ticket,
    Want,
    before,
    describe_holders,
    taken,
)
from simple_gpu_scheduler.model import GPU_UNITS, Card, Hold, Job, Start
from simple_gpu_scheduler.ports import Lease

#: Where the kernel has no more inotify instances for this user.
_LOOK_AGAIN_S = 0.5

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
    ) -> None:
        """Look at what others hold.

        Args:
            cards: our GPUs, with nothing taken.
            keys: the key in leases of each card's name.
            kind: what the leases are for: job, shell, notebook, python.
            inside: the lease that we ourselves run in.

        Raises:
            SgsError: leases can't be read.
        """
        self._folder = folder
        self._bare = tuple(cards)
        self._keys = dict(keys)
        self._names = {key: name for name, key in keys.items()}
        self._kind = kind
        self._inside = inside
        self._held: dict[int, tuple[_Share, Held]] = {}  # by the job's number
        self._spare: dict[_Share, list[Held]] = {}
        self._ticket: tuple[Held, Ticket] | None = None
        self._wake_fd: int | None = None
        self._cards = self._bare
        self._theirs: tuple[list[LeaseRecord], list[Ticket]] = ([], [])
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
        return _LOOK_AGAIN_S if self._ticket is not None and self._wake_fd is None else None

    def look(self) -> None:
        """See what others hold now."""
        if self._wake_fd is not None:
            drain(self._wake_fd)
        ours = {held.lease.id for held in self._all_held()}
        leases = [one for one in self._folder.leases() if one.id not in ours]
        ticket = None if self._ticket is None else self._ticket[1]
        tickets = [one for one in before(self._folder.tickets(), ticket) if one != ticket]
        found = taken(leases, tickets, inside=self._inside)
        self._theirs = leases, tickets
        self._cards = tuple(
            card
            if (one := found.get(self._keys[card.name])) is None
            else card._replace(
                used_units=min(GPU_UNITS, card.used_units + one.units),
                leased_mib=card.leased_mib + one.memory_mib,
            )
            for card in self._bare
        )

    def take(self, start: Start) -> Lease | None:
        """The lease for a job; see `ports.Leases`."""
        job, gpus = start
        share = (gpus, job.units, job.memory_mib)
        spares = self._spare.get(share)
        held = spares.pop() if spares and not self._somebody_waits() else self._take_anew(start)
        if held is None:
            return None
        self._held[job.seq] = share, held
        return held.lease

    def _take_anew(self, start: Start) -> Held | None:
        job, gpus = start
        keys = tuple(self._keys[gpu] for gpu in gpus)
        with self._folder.allocating():
            self._release_spares(gpus)
            self.look()
            if not self._fits(start):
                return None
            want = Want(keys, len(keys), job.units, job.memory_mib)
            held = self._folder.add_lease(want, self._kind, self._inside)
        self._withdraw()  # served: if another job has to wait, it does so behind the others
        return held

    def _fits(self, start: Start) -> bool:
        """True if others leave enough, and so do our own jobs."""
        used = {card.name: card.used_units for card in self._cards}
        for (gpus, units, _), _ in self._held.values():
            for gpu in gpus:
                used[gpu] += units
        return all(used[gpu] + start.job.units <= GPU_UNITS for gpu in start.gpus)

    def finish(self, job: Job) -> None:
        """The job is over; the next one on the same GPUs may have its lease."""
        share, held = self._held.pop(job.seq)
        self._spare.setdefault(share, []).append(held)

    def settle(self, hold: Hold | None) -> str | None:
        """Give back what no job uses, queue up for the job that waits; see `ports.Leases`."""
        if self._spare and not (hold and hold.job.gpus > 1 and not self._somebody_waits()):
            self._release_spares()
        if hold is None or hold.until_s is not None or not self._others_are_in_the_way():
            self._withdraw()
            return None
        return None if self._ticket is not None else self._queue_up(hold.job)

    def _somebody_waits(self) -> bool:
        return self._folder.somebody_waits(self._ticket and self._ticket[1].id)

    def _others_are_in_the_way(self) -> bool:
        return any(card.used_units or card.leased_mib for card in self._cards)

    def _queue_up(self, job: Job) -> str:
        keys = tuple(self._keys.values())
        self._ticket = self._folder.add_ticket(Want(keys, job.gpus, job.units, job.memory_mib))
        from simple_gpu_scheduler.adapters import inotify  # costs time, and few ever wait

        try:
            self._wake_fd = inotify.watch_ends((self._folder.path, self._folder.waiting_path))
        except OSError:
            self._wake_fd = None
        self.look()  # what changed before the watch began
        return describe_holders(self._names, *self._theirs, _clock_time)

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


def _clock_time(wall_s: float) -> str:
    return time.strftime("%H:%M", time.localtime(wall_s))
