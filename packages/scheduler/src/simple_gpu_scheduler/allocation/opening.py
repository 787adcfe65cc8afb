"""From the GPUs that a user means to what others leave of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simple_gpu_scheduler.allocation.availability import Availability
from simple_gpu_scheduler.leases.store import FileLeaseStore
from simple_gpu_scheduler.policy.model import Card

if TYPE_CHECKING:
    from simple_gpu_scheduler.allocation.monitor import GpuMonitor
    from simple_gpu_scheduler.gpus.selection import GpuSelection
    from simple_gpu_scheduler.leases.ports import LeaseStore


def open_availability(
    chosen: GpuSelection,
    book: LeaseStore | None = None,
    /,
    *,
    inside: str | None = None,
    keep_free: int = 0,
    avoid_strangers: bool,
    **idle: int,
) -> Availability:
    """Look at these GPUs, with nothing of our own yet.

    Args:
        chosen: the GPUs to use.
        book: where leases are; None: the machine's directory.
        inside: see `Availability`, and so is `keep_free`.
        avoid_strangers: see `GpuMonitor`, and so are the limits of `idle`.

    Raises:
        UsageError: nothing could ever be taken.
        SgsError: leases can't be read, or can't be kept here.
    """
    return Availability(
        FileLeaseStore() if book is None else book,
        [Card(name) for name in chosen.keys],
        chosen.keys,
        uuids=chosen.uuids,
        inside=inside,
        watch=open_monitor(chosen, avoid_strangers=avoid_strangers, **idle),
        keep_free=keep_free,
    )


def open_monitor(chosen: GpuSelection, **settings: Any) -> GpuMonitor | None:
    """What the driver will say of these GPUs; None where there is none. See `GpuMonitor`."""
    if chosen.devices is None:
        return None
    from simple_gpu_scheduler.allocation.monitor import GpuMonitor

    return GpuMonitor(chosen.devices, chosen.keys, **settings)
