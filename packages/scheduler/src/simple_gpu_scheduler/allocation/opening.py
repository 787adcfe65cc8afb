"""From the GPUs that a user means to what others leave of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simple_gpu_scheduler.allocation.availability import LeaseView
from simple_gpu_scheduler.leases.store import LeaseDir
from simple_gpu_scheduler.policy.model import Card

if TYPE_CHECKING:
    from simple_gpu_scheduler.allocation.monitor import CardWatch
    from simple_gpu_scheduler.gpus.selection import Chosen
    from simple_gpu_scheduler.leases.ports import LeaseBook


def open_availability(
    chosen: Chosen,
    book: LeaseBook | None = None,
    /,
    *,
    inside: str | None = None,
    keep_free: int = 0,
    avoid_strangers: bool,
    **idle: int,
) -> LeaseView:
    """Look at these GPUs, with nothing of our own yet.

    Args:
        chosen: the GPUs to use.
        book: where leases are; None: the machine's directory.
        inside: see `LeaseView`, and so is `keep_free`.
        avoid_strangers: see `CardWatch`, and so are the limits of `idle`.

    Raises:
        UsageError: nothing could ever be taken.
        SgsError: leases can't be read, or can't be kept here.
    """
    return LeaseView(
        LeaseDir() if book is None else book,
        [Card(name) for name in chosen.keys],
        chosen.keys,
        uuids=chosen.uuids,
        inside=inside,
        watch=open_monitor(chosen, avoid_strangers=avoid_strangers, **idle),
        keep_free=keep_free,
    )


def open_monitor(chosen: Chosen, **settings: Any) -> CardWatch | None:
    """What the driver will say of these GPUs; None where there is none. See `CardWatch`."""
    if chosen.devices is None:
        return None
    from simple_gpu_scheduler.allocation.monitor import CardWatch

    return CardWatch(chosen.devices, chosen.keys, **settings)
