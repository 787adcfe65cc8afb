"""A queue with a server of its own, in real processes."""

from queues import queue, shell, witness, witnesses
from small_disk import disk

__all__ = ["disk", "queue", "shell", "witness", "witnesses"]
