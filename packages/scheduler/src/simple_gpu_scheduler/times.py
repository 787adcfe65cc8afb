"""Moved to `units.times`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.units.times import format_time

show_time = format_time
