"""Moved to `files.disk_space`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.files.disk_space import find_shortage

lack = find_shortage
