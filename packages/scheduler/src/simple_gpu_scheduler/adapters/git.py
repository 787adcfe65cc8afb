"""Moved to `queue.worktrees.git`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.queue.worktrees.git import names_a_repository as names_a_repository
