"""Moved to `allocation.monitor`; programs of version 0.2 that run on import it late."""

from collections.abc import Mapping, Sequence
from typing import Any

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.allocation.monitor import GpuMonitor
from simple_gpu_scheduler.gpus.ports import Devices
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.policy.model import Card


class CardWatch(GpuMonitor):
    """`GpuMonitor` with the names of version 0.2."""

    def __init__(
        self, devices: Devices, keys: Mapping[str, str], *, avoid_strangers: bool, **limits: Any
    ) -> None:
        super().__init__(devices, keys, avoid_foreign=avoid_strangers, **limits)

    def look(self, leases: Sequence[LeaseRecord]) -> list[Card]:
        """See `read`."""
        return self.read(leases)

    @property
    def people(self) -> dict[str, str]:
        """See `foreign_use`."""
        return self.foreign_use

    @property
    def strangers(self) -> dict[str, str]:
        """See `busy`."""
        return self.busy
