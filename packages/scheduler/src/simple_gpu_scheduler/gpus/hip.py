"""Which AMD cards a user means, by the numbers that HIP gives them.

ROCm has two layers that hide cards, and each counts what the one below leaves: ROCr obeys
ROCR_VISIBLE_DEVICES, and HIP on top of it HIP_VISIBLE_DEVICES or, where that is empty,
CUDA_VISIBLE_DEVICES (ROCm documentation, "GPU isolation techniques"). Jobs inherit the first and
are given both of the others, alike, since frameworks refuse two that differ. So a card is called
by its number in HIP, also where the user named its UUID: older HIPs read numbers only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus import nvml
from simple_gpu_scheduler.gpus.ids import GpuName, hip_names, uuids, uuids_by_number, visible_ids

if TYPE_CHECKING:
    from simple_gpu_scheduler.gpus.driver import Devices

#: The device of AMD's driver for computing (amdkfd).
DRIVER_FILE = "/dev/kfd"
_LIBRARY = "libamd_smi.so"


def is_amd_machine(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether AMD's driver is there and NVIDIA's isn't; a look at a few files."""
    library_path = environ.get("LD_LIBRARY_PATH", "")
    libraries = (os.path.join(d, _LIBRARY) for d in library_path.split(":") if d)
    present = any(os.path.exists(path) for path in (DRIVER_FILE, *libraries))
    return present and not nvml.driver_present(library_path)


def chosen_cards(
    ids: Sequence[str] | None, environ: Mapping[str, str]
) -> tuple[dict[str, str], Devices, dict[str, tuple[str, ...]]]:
    """The UUIDs of the cards to use, whom to ask about them, and the UUIDs of all of the machine.

    UUIDs come by the numbers of HIP: the first within ROCR_VISIBLE_DEVICES, the last of them all.

    Args:
        ids: numbers or UUIDs that the user named; None: all that the environment leaves.

    Raises:
        NoAmdDriverError: amdsmi isn't installed or doesn't answer.
        UsageError: there are no such cards, or none at all.
    """
    from simple_gpu_scheduler.gpus.amd import AmdDevices

    devices = AmdDevices()
    cards = [GpuName(str(gpu.number), gpu.uuid) for gpu in devices.gpus() if gpu.uuid]
    names = hip_names(cards, environ.get("ROCR_VISIBLE_DEVICES"))
    if ids is None:
        ids = visible_ids(names, _inherited(environ))
        if not ids:
            raise UsageError(_nothing_usable(len(cards), environ))
    numbers = {name.uuid: name.number for name in names}
    keys = {numbers[uuid]: uuid for uuid in uuids(ids, names).values()}
    return keys, devices, uuids_by_number(cards)


def _inherited(environ: Mapping[str, str]) -> str | None:
    hip, cuda = (environ.get(name) for name in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))
    return hip if hip or cuda is None else cuda


def _nothing_usable(number: int, environ: Mapping[str, str]) -> str:
    names = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    said = " ".join(f"{name}={environ[name]!r}" for name in names if name in environ)
    where = f" within {said}" if said else ""
    return (
        f"no GPU found: the machine has {number} AMD cards, none of them usable{where}; see "
        "sgs gpus, correct the environment, or name GPUs by --gpus 0,1,2"
    )
