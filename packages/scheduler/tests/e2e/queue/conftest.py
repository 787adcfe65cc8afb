"""A queue with a server of its own, in real processes."""

from fake_nvml import library
from queues import queue, shell, witness, witnesses

__all__ = ["library", "queue", "shell", "witness", "witnesses"]
