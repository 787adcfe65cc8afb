"""Moved to `queue.worktrees.snapshot`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.queue.worktrees.snapshot import take_snapshot as take_snapshot
