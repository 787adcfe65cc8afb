"""The machine's GPUs and who has them, for commands that show them."""

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
    """All GPUs at one moment."""

    gpus: tuple[GpuStatus, ...] = ()
    #: Why the driver doesn't answer; empty if it does. Without it, `gpus` are the names given.
    error: str = ""


class GpuStatusReader:
    """Reads the leases each time, and asks the driver only on request."""

    def __init__(self) -> None:
        self._devices = DetectedDevices()
        self._gpus: tuple[Gpu, ...] = ()
        self._error = ""

    def read(self, names: Sequence[str], *, ask_driver: bool) -> GpuStatuses:
        """The GPUs now.

        Args:
            names: the names that stand for GPUs if no driver answers.
            ask_driver: ask the driver, too; otherwise use its last answer.

        Raises:
            SgsError: leases can't be read.
        """
        if ask_driver:
            self._ask_driver()
        gpus = self._gpus
        if self._error:
            gpus = tuple(_named_gpu(place, name) for place, name in enumerate(names))
        return GpuStatuses(_with_occupancy(gpus), self._error)

    def close(self) -> None:
        """Close the driver."""
        self._devices.close()

    def _ask_driver(self) -> None:
        try:
            self._gpus, self._error = self._devices.gpus(), ""
        except NoDriverError as error:
            self._gpus, self._error = (), f"the NVIDIA driver doesn't answer ({error})"
        except SgsError as error:
            self._gpus, self._error = (), str(error)


def read_gpu_status() -> tuple[GpuStatus, ...]:
    """The GPUs of the machine, and who has them.

    Raises:
        SgsError: no driver answers, or leases can't be read.
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
    ancestors = functools.cache(lineage)  # each process is compared with each lease
    return tuple((gpu, occupancy(gpu, leases, ancestors)) for gpu in gpus)


def _named_gpu(place: int, name: str) -> Gpu:
    if name.isascii() and name.isdigit():
        return Gpu(int(name), name)
    return Gpu(place, name, name)


def _no_driver(reason: str) -> str:
    return (
        f"no GPU can be seen: the NVIDIA driver doesn't answer ({reason}); if the machine has "
        "GPUs, see that nvidia-smi works here (in a container: docker run --gpus all); for AMD "
        "GPUs install amdsmi, which is the extra `amd` of simple-gpu-scheduler"
    )
