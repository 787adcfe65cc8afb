"""A queue with a server of its own, in real processes."""

from queues import shell

__all__ = ["shell"]
