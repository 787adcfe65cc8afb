"""The same jobs, by the pipe and by the queue."""

from fake_nvml import library
from queues import queue

__all__ = ["library", "queue"]
