"""The machine's GPUs and who has them, for those who look again and again."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.occupancy import Occupancy, occupancy
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus import nvml
from simple_gpu_scheduler.gpus import processes as gpu_processes
from simple_gpu_scheduler.gpus.driver import Devices
from simple_gpu_scheduler.gpus.records import Gpu
from simple_gpu_scheduler.leases import directory as lease_dir
from simple_gpu_scheduler.leases import store as leases


class CardsSeen(NamedTuple):
    """The GPUs at one moment."""

    cards: tuple[tuple[Gpu, Occupancy], ...] = ()
    why: str = ""  #: why the driver says nothing; then the cards are the slots that were named


class CardView:
    """Asks the driver when told to, and otherwise only who has leases by now."""

    def __init__(self) -> None:
        self._devices: Devices | None = None
        self._gpus: tuple[Gpu, ...] = ()
        self._why = ""

    def look(self, slots: Sequence[str], *, ask_driver: bool) -> CardsSeen:
        """Look.

        Args:
            slots: the names that stand for GPUs where there is no driver.

        Raises:
            SgsError: leases can't be read.
        """
        if ask_driver:
            self._ask()
        gpus = self._gpus
        if self._why:
            gpus = tuple(_slot(place, name) for place, name in enumerate(slots))
        held = leases.live_leases(lease_dir.lease_dir())
        ancestors = functools.cache(gpu_processes.lineage)  # every process meets every lease
        return CardsSeen(tuple((gpu, occupancy(gpu, held, ancestors)) for gpu in gpus), self._why)

    def close(self) -> None:
        """Let the driver go."""
        if self._devices is not None:
            self._devices.close()
        self._devices = None

    def _ask(self) -> None:
        try:
            if self._devices is None:
                self._devices = nvml.NvmlDevices()
            self._gpus, self._why = self._devices.gpus(), ""
        except nvml.NoDriverError as error:
            self._gpus, self._why = (), f"the NVIDIA driver doesn't answer ({error})"
            self._devices = _amd()
        except SgsError as error:
            self._gpus, self._why = (), str(error)


def _amd() -> Devices | None:
    """AMD's cards, where amdsmi is installed; they are asked from the next time on."""
    if importlib.util.find_spec("amdsmi") is None:
        return None
    from simple_gpu_scheduler.gpus import amd

    return amd.AmdDevices()


def _slot(place: int, name: str) -> Gpu:
    if name.isascii() and name.isdigit():
        return Gpu(int(name), name)
    return Gpu(place, name, name)
