"""Moved to `allocation.monitor`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.allocation.monitor import GpuMonitor


class CardWatch(GpuMonitor):
    """Under its old name, with the old name of its method."""

    look = GpuMonitor.read
