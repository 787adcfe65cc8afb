"""Open the `Availability` and the `GpuMonitor` of the GPUs that a user selected."""

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
    selection: GpuSelection,
    store: LeaseStore | None = None,
    /,
    *,
    inside: str | None = None,
    keep_free: int = 0,
    avoid_foreign: bool,
    **idle_limits: int,
) -> Availability:
    """Read what others leave of these GPUs, before we hold anything.

    Args:
        selection: the GPUs to use.
        store: where leases are; None: the machine's directory.
        inside: see `Availability`.
        keep_free: see `Availability`.
        avoid_foreign: see `GpuMonitor`.
        idle_limits: see `GpuMonitor`.

    Raises:
        UsageError: no GPU could ever be taken.
        SgsError: leases can't be read, or can't be kept here.
    """
    return Availability(
        FileLeaseStore() if store is None else store,
        [Card(name) for name in selection.keys],
        selection.keys,
        uuids=selection.uuids,
        inside=inside,
        monitor=open_monitor(selection, avoid_foreign=avoid_foreign, **idle_limits),
        keep_free=keep_free,
    )


def open_monitor(selection: GpuSelection, **settings: Any) -> GpuMonitor | None:
    """The monitor of these GPUs; None without a driver. See `GpuMonitor` for the settings."""
    if selection.devices is None:
        return None
    from simple_gpu_scheduler.allocation.monitor import GpuMonitor

    return GpuMonitor(selection.devices, selection.keys, **settings)
