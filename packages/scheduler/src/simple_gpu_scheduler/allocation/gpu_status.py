"""The machine's GPUs and who has them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from simple_gpu_scheduler.allocation.occupancy import Occupancy, occupancy
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.detection import DetectedDevices
from simple_gpu_scheduler.gpus.nvml import NoDriverError
from simple_gpu_scheduler.gpus.processes import lineage
from simple_gpu_scheduler.gpus.records import Gpu
from simple_gpu_scheduler.leases.directory import lease_dir
from simple_gpu_scheduler.leases.store import live_leases

GpuStatus = tuple[Gpu, Occupancy]


class GpuStatuses(NamedTuple):
    """The GPUs at one moment."""

    cards: tuple[GpuStatus, ...] = ()
    why: str = ""  #: why the driver says nothing; then the GPUs are the slots that were named


class GpuStatusReader:
    """Asks the driver when told to, and otherwise only who has leases by now."""

    def __init__(self) -> None:
        self._devices = DetectedDevices()
        self._gpus: tuple[Gpu, ...] = ()
        self._why = ""

    def read(self, slots: Sequence[str], *, ask_driver: bool) -> GpuStatuses:
        """The GPUs now.

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
        return GpuStatuses(_with_occupancy(gpus), self._why)

    def close(self) -> None:
        """Let the driver go."""
        self._devices.close()

    def _ask(self) -> None:
        try:
            self._gpus, self._why = self._devices.gpus(), ""
        except NoDriverError as error:
            self._gpus, self._why = (), f"the NVIDIA driver doesn't answer ({error})"
        except SgsError as error:
            self._gpus, self._why = (), str(error)


def read_gpu_status() -> tuple[GpuStatus, ...]:
    """The GPUs of the machine, and who has them.

    Raises:
        SgsError: no driver answers.
    """
    devices = DetectedDevices()
    try:
        return _with_occupancy(devices.gpus())
    except NoDriverError as error:
        raise SgsError(_no_driver(str(error))) from None
    finally:
        devices.close()


def _with_occupancy(gpus: Sequence[Gpu]) -> tuple[GpuStatus, ...]:
    leases = live_leases(lease_dir())
    ancestors = functools.cache(lineage)  # every process meets every lease
    return tuple((gpu, occupancy(gpu, leases, ancestors)) for gpu in gpus)


def _slot(place: int, name: str) -> Gpu:
    if name.isascii() and name.isdigit():
        return Gpu(int(name), name)
    return Gpu(place, name, name)


def _no_driver(reason: str) -> str:
    return (
        f"no GPU can be seen: the NVIDIA driver doesn't answer ({reason}); if the machine has "
        "GPUs, see that nvidia-smi works here (in a container: docker run --gpus all); for AMD "
        "GPUs install amdsmi, which is the extra `amd` of simple-gpu-scheduler"
    )
