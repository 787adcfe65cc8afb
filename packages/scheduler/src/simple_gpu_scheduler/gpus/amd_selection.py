"""Which AMD GPUs a user means, by HIP's numbers.

ROCm has two layers that hide GPUs (ROCm documentation, "GPU isolation techniques"). ROCr obeys
ROCR_VISIBLE_DEVICES. HIP numbers what ROCr leaves, and obeys HIP_VISIBLE_DEVICES or, if that is
empty, CUDA_VISIBLE_DEVICES. Jobs inherit the first variable. They get both others with one value,
as frameworks refuse values that differ. That value has HIP's numbers even if the user named UUIDs:
older versions of HIP read only numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus.ids import (
    GpuName,
    find_uuids,
    hip_names,
    uuids_by_number,
    visible_ids,
)

if TYPE_CHECKING:
    from simple_gpu_scheduler.gpus.ports import Devices


def select_amd_gpus(
    ids: Sequence[str] | None, environ: Mapping[str, str]
) -> tuple[dict[str, str], Devices, dict[str, tuple[str, ...]]]:
    """Find the GPUs that the user means.

    Args:
        ids: numbers or UUIDs that the user named; None: all that the environment leaves.

    Returns:
        The UUIDs of these GPUs, by their numbers within ROCR_VISIBLE_DEVICES; the driver; and the
        UUIDs of all GPUs of the machine, by their numbers without that variable.

    Raises:
        NoAmdDriverError: amdsmi isn't installed or doesn't answer.
        UsageError: there are no such GPUs, or none at all.
    """
    from simple_gpu_scheduler.gpus.amd import AmdDevices

    devices = AmdDevices()
    all_names = [GpuName(str(gpu.number), gpu.uuid) for gpu in devices.gpus() if gpu.uuid]
    names = hip_names(all_names, environ.get("ROCR_VISIBLE_DEVICES"))
    if ids is None:
        ids = visible_ids(names, _visible_devices(environ))
        if not ids:
            raise UsageError(_none_usable(len(all_names), environ))
    numbers = {name.uuid: name.number for name in names}
    keys = {numbers[uuid]: uuid for uuid in find_uuids(ids, names).values()}
    return keys, devices, uuids_by_number(all_names)


def _visible_devices(environ: Mapping[str, str]) -> str | None:
    hip, cuda = (environ.get(name) for name in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))
    return hip if hip or cuda is None else cuda


def _none_usable(count: int, environ: Mapping[str, str]) -> str:
    names = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    variables = " ".join(f"{name}={environ[name]!r}" for name in names if name in environ)
    where = f" within {variables}" if variables else ""
    return (
        f"no GPU found: the machine has {count} AMD GPUs, none of them usable{where}; see "
        "sgs gpus, correct the environment, or name GPUs by --gpus 0,1,2"
    )
