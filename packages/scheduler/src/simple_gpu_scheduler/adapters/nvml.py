"""The machine's NVIDIA cards, asked of the driver through NVML.

pynvml (nvidia-ml-py) is imported only when cards are asked for.
"""

from __future__ import annotations

import os
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpu_ids import GpuName

_DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg")


class NoDriverError(SgsError):
    """NVML can't be asked: there is no NVIDIA driver, or it doesn't answer."""


def driver_present(library_path: str) -> bool:
    """Whether asking NVML is worth its time; a look at a few files.

    Args:
        library_path: LD_LIBRARY_PATH, where a container or a test may bring the library.
    """
    libraries = (os.path.join(d, "libnvidia-ml.so.1") for d in library_path.split(":") if d)
    return any(os.path.exists(path) for path in (*_DRIVER_FILES, *libraries))


def gpu_names() -> list[GpuName]:
    """All cards in nvidia-smi's order; a card cut by MIG gives its slices instead.

    Raises:
        NoDriverError: NVML doesn't answer.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriverError(str(error)) from None
    try:
        names: list[GpuName] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            names += _slices(pynvml, device) or [GpuName(str(index), _uuid(pynvml, device))]
        return names
    except pynvml.NVMLError as error:
        raise NoDriverError(str(error)) from None
    finally:
        pynvml.nvmlShutdown()


def _uuid(nvml: Any, device: Any) -> str:
    uuid = nvml.nvmlDeviceGetUUID(device)
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


def _slices(nvml: Any, device: Any) -> list[GpuName]:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(device)
    except nvml.NVMLError:  # a card that knows no MIG
        return []
    if current != nvml.NVML_DEVICE_MIG_ENABLE:
        return []
    names: list[GpuName] = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(device)):
        try:
            mig = nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, number)
        except nvml.NVMLError_NotFound:
            continue
        names.append(GpuName("", _uuid(nvml, mig)))
    return names
