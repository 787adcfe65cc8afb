"""GPU ids: read what users write, and find the GPUs that they mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus.records import find_place


class GpuName(NamedTuple):
    """The two names of a GPU or MIG slice."""

    number: str  #: nvidia-smi's number, or HIP's; empty for a MIG slice
    uuid: str  #: empty: the GPU was lost before its UUID was read
    whole: str = ""  #: for a MIG slice: the number of the whole GPU


def parse_gpu_ids(values: Iterable[str]) -> tuple[str, ...]:
    """The ids in `0 1 2`, `0,1,2` or a mixture, in their order.

    Any name may be an id, as there may be no driver.

    Raises:
        UsageError: there is no id, or one is empty, impossible or named twice.
    """
    ids = [part.strip() for value in values for part in value.split(",")]
    if not any(ids):
        raise UsageError("--gpus names no GPU; expected ids such as --gpus 0,1,2")
    if not all(ids):
        raise UsageError(f"--gpus has an empty id in {','.join(ids)!r}; expected such as 0,1,2")
    doubled = next((gpu_id for gpu_id in ids if ids.count(gpu_id) > 1), None)
    if doubled is not None:
        raise UsageError(
            f"--gpus names GPU {doubled} twice (several jobs on one GPU: see --jobs-per-gpu)"
        )
    bad = next((gpu_id for gpu_id in ids if not gpu_id.isprintable() or " " in gpu_id), None)
    if bad is not None:
        raise UsageError(
            f"--gpus has the id {bad!r}, which no GPU can have; expected one without blanks, "
            "such as 0, GPU-8f3a.. or MIG-.. (see nvidia-smi -L); without a driver any name does"
        )
    return tuple(ids)


def find_uuids(ids: Sequence[str], gpus: Sequence[GpuName]) -> dict[str, str]:
    """The UUID of the GPU that each id means; for a lost GPU, its number.

    Args:
        gpus: all GPUs of the machine.

    Raises:
        UsageError: no GPU has such an id, or two ids mean the same GPU.
    """
    id_by_key: dict[str, str] = {}
    for gpu_id in ids:
        gpu = _find(gpu_id, gpus)
        if gpu is None:
            names = ", ".join(gpu.number or gpu.uuid for gpu in gpus)
            raise UsageError(f"unknown GPU {gpu_id!r}; this machine has {names} (see sgs gpus)")
        key = gpu.uuid or gpu.number
        if key in id_by_key:
            raise UsageError(f"--gpus names one GPU twice: {id_by_key[key]} and {gpu_id}")
        id_by_key[key] = gpu_id
    return {gpu_id: key for key, gpu_id in id_by_key.items()}


def visible_ids(gpus: Sequence[GpuName], inherited: str | None) -> tuple[str, ...]:
    """The ids in an inherited CUDA_VISIBLE_DEVICES; the ids of all GPUs if it is not set.

    As in CUDA (programming guide, "CUDA environment variables"), the list ends at the first entry
    that is no GPU, and the start of a UUID stands for the GPU.

    Args:
        gpus: all GPUs of the machine.
        inherited: the value of the variable; None: it is not set.
    """
    if inherited is None:
        return tuple(gpu.number or gpu.uuid for gpu in gpus)
    visible: list[str] = []
    for entry in inherited.split(","):
        if _find(entry.strip(), gpus) is None:
            break
        visible.append(entry.strip())
    return tuple(dict.fromkeys(visible))


def hip_names(gpus: Sequence[GpuName], rocr: str | None) -> list[GpuName]:
    """AMD GPUs with HIP's numbers: the first one within ROCR_VISIBLE_DEVICES is 0.

    Args:
        gpus: all AMD GPUs of the machine.
        rocr: the value of ROCR_VISIBLE_DEVICES; None: it is not set.
    """
    if rocr is None:
        return list(gpus)
    visible = (_find(gpu_id, gpus) for gpu_id in visible_ids(gpus, rocr))
    uuids = dict.fromkeys(gpu.uuid for gpu in visible if gpu is not None)
    return [GpuName(str(number), uuid) for number, uuid in enumerate(uuids)]


def uuids_by_number(gpus: Sequence[GpuName]) -> dict[str, tuple[str, ...]]:
    """The UUID of each whole GPU, or those of its slices, by its number."""
    uuids: dict[str, tuple[str, ...]] = {}
    for gpu in gpus:
        number = gpu.number or gpu.whole
        uuids[number] = (*uuids.get(number, ()), gpu.uuid or number)
    return uuids


def _find(gpu_id: str, gpus: Sequence[GpuName]) -> GpuName | None:
    names = [(int(gpu.number) if gpu.number else None, gpu.uuid) for gpu in gpus]
    place = find_place(names, gpu_id)
    return None if place is None else gpus[place]
