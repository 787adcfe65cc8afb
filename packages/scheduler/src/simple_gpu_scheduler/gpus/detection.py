"""Find the driver that answers: NVIDIA's, else AMD's."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from simple_gpu_scheduler.gpus import nvml

if TYPE_CHECKING:
    from simple_gpu_scheduler.gpus.ports import Devices
    from simple_gpu_scheduler.gpus.records import Gpu


class DetectedDevices:
    """The GPUs of the driver that answers. It is opened at the first call and after a failure."""

    def __init__(self) -> None:
        self._devices: Devices | None = None

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs as they are now.

        Raises:
            NoDriverError: NVIDIA's driver doesn't answer, and amdsmi isn't installed.
            SgsError: neither driver answers.
        """
        try:
            if self._devices is None:
                self._devices = nvml.NvmlDevices()
            return self._devices.gpus()
        except nvml.NoDriverError:
            self.close()
            self._devices = _amd_devices()
            if self._devices is None:
                raise
            return self._devices.gpus()

    def close(self) -> None:
        """Close the driver."""
        if self._devices is not None:
            self._devices.close()
        self._devices = None


def _amd_devices() -> Devices | None:
    """The devices of AMD's driver; None if amdsmi isn't installed."""
    if importlib.util.find_spec("amdsmi") is None:
        return None
    from simple_gpu_scheduler.gpus.amd import AmdDevices

    return AmdDevices()
