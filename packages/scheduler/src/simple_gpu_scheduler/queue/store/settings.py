"""What a user has chosen for the server of his queue; kept in the queue's file."""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.allocation.occupancy import IDLE_MEMORY_MIB, IDLE_UTILISATION_PERCENT
from simple_gpu_scheduler.queue.store.jobs import QueueStore


class ServerSettings(NamedTuple):
    """How the server uses the machine's GPUs."""

    idle_memory_mib: int = IDLE_MEMORY_MIB  #: GPUs where strangers have as much aren't taken
    idle_utilisation_percent: int = IDLE_UTILISATION_PERCENT  #: nor those that they keep so busy
    keep_free: int = 0  #: GPUs left to others
    placement: str = "default"  #: default, pack or spread

    @classmethod
    def read(cls, store: QueueStore) -> ServerSettings:
        """As they were chosen."""
        known = {name: store.setting(name) for name in cls._fields}
        numbers = {n: int(v) for n, v in known.items() if v and n != "placement"}
        return cls(**numbers, placement=known["placement"] or "default")
