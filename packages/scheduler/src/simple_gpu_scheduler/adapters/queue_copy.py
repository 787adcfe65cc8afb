"""Moved to `queue.store.memory_copy`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.queue.store.memory_copy import copied as copied
