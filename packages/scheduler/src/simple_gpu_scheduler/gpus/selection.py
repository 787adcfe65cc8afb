"""Which GPUs a user means, and their keys in leases."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus import ids as gpu_ids
from simple_gpu_scheduler.gpus import vendor

if TYPE_CHECKING:
    from simple_gpu_scheduler.gpus.ports import Devices


class GpuSelection(NamedTuple):
    """The GPUs to use."""

    #: Their keys in leases, by the user's names: UUIDs if the driver answers, else the names.
    keys: dict[str, str]
    devices: Devices | None  #: the driver; None: it doesn't answer
    #: The UUIDs of all GPUs of the machine, or of their slices, by number; empty without a driver.
    uuids: dict[str, tuple[str, ...]]


def select_gpus(
    names: Sequence[str] | None, tell: Callable[[str], None], *, option: str = "--gpus"
) -> GpuSelection:
    """Find the GPUs that the user named, or all of the machine.

    Args:
        names: what the user named; None: all GPUs within an inherited CUDA_VISIBLE_DEVICES (for
            AMD GPUs see `amd_selection`).
        tell: called with warnings for the user.
        option: the option by which the user names GPUs, for messages.

    Raises:
        UsageError: there is no such GPU, or none at all.
    """
    try:
        if names is None:
            return _select_all(os.environ.get("CUDA_VISIBLE_DEVICES"))
        return _select_named(names, tell)
    except UsageError as error:
        raise UsageError(str(error).replace("--gpus", option)) from None


def _select_named(names: Sequence[str], tell: Callable[[str], None]) -> GpuSelection:
    ids = gpu_ids.parse_gpu_ids(names)
    if vendor.is_nvidia_machine():
        from simple_gpu_scheduler.gpus import nvml

        try:
            return _select_nvidia(ids, nvml.gpu_names())
        except nvml.NoDriverError as error:
            tell(f"warning: the NVIDIA driver doesn't answer ({error}); using GPUs as named")
    elif vendor.is_amd_machine():
        from simple_gpu_scheduler.gpus import amd_selection
        from simple_gpu_scheduler.gpus.amd import NoAmdDriverError, NoAmdsmiError

        try:
            return GpuSelection(*amd_selection.select_amd_gpus(ids, os.environ))
        except NoAmdsmiError:
            pass  # GPUs that the user named can be used without it
        except NoAmdDriverError as error:
            tell(f"warning: {error}; using GPUs as named")
    return GpuSelection({gpu_id: gpu_id for gpu_id in ids}, None, {})


def _select_all(inherited: str | None) -> GpuSelection:
    from simple_gpu_scheduler.gpus import nvml

    try:
        names = nvml.gpu_names()
    except nvml.NoDriverError as error:
        if vendor.is_amd_machine():
            return _select_all_amd()
        raise UsageError(
            f"no GPU found: the NVIDIA driver doesn't answer ({error}); if the machine has GPUs, "
            "see that nvidia-smi works; else name GPUs yourself, such as --gpus 0,1,2"
        ) from None
    if not names:
        raise UsageError(
            "no GPU found: the NVIDIA driver answers, but has none; name GPUs yourself, such as "
            "--gpus 0,1,2"
        )
    ids = gpu_ids.visible_ids(names, inherited)
    if not ids:
        where = "" if inherited is None else f" within CUDA_VISIBLE_DEVICES={inherited!r}"
        raise UsageError(
            f"no GPU found: the machine has {len(names)}, none of them usable{where}; "
            "unset or correct the variable, or name GPUs by --gpus 0,1,2"
        )
    return _select_nvidia(ids, names)


def _select_all_amd() -> GpuSelection:
    from simple_gpu_scheduler.gpus import amd_selection
    from simple_gpu_scheduler.gpus.amd import NoAmdDriverError

    try:
        return GpuSelection(*amd_selection.select_amd_gpus(None, os.environ))
    except NoAmdDriverError as error:
        raise UsageError(
            f"no GPU found: {error}; or name GPUs yourself, such as --gpus 0,1,2"
        ) from None


def _select_nvidia(ids: Sequence[str], names: Sequence[gpu_ids.GpuName]) -> GpuSelection:
    """The GPUs of these ids, among those that the driver reports."""
    from simple_gpu_scheduler.gpus import nvml

    keys = gpu_ids.find_uuids(ids, names)
    return GpuSelection(keys, nvml.NvmlDevices(), gpu_ids.uuids_by_number(names))
