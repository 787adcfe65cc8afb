"""Moved to `queue.worktrees.usage_lock`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.queue.worktrees.usage_lock import in_use as in_use
