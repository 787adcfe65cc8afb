"""The user's settings for the server, in the queue's file."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.allocation.occupancy import IDLE_MEMORY_MIB, IDLE_UTILISATION_PERCENT
from simple_gpu_scheduler.queue.store.jobs import QueueStore


class ServerSettings(NamedTuple):
    """How the server uses the machine's GPUs."""

    #: A GPU isn't used if its foreign processes have this much memory, or keep it this busy.
    idle_memory_mib: int = IDLE_MEMORY_MIB
    idle_utilisation_percent: int = IDLE_UTILISATION_PERCENT
    keep_free: int = 0  #: the number of GPUs left to others
    placement: str = "default"  #: default, pack or spread

    @classmethod
    def read(cls, store: QueueStore) -> ServerSettings:
        """Read the settings; those that were never set have their defaults."""
        texts = {name: store.setting(name) for name in cls._fields}
        numbers = {name: int(text) for name, text in texts.items() if text and name != "placement"}
        return cls(**numbers, placement=texts["placement"] or "default")
