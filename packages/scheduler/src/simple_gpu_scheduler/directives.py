"""Moved to `jobs.directives`; programs of version 0.2 that run on import it late."""

from simple_gpu_scheduler.adapters import old_classes as old_classes
from simple_gpu_scheduler.jobs.directives import apply_queue_directives as apply_queue_directives
