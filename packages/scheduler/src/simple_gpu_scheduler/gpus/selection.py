"""Which GPUs a user means, and the keys by which leases know them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus import hip, nvml
from simple_gpu_scheduler.gpus import ids as gpu_ids

if TYPE_CHECKING:
    from simple_gpu_scheduler.gpus.driver import Devices


class GpuSelection(NamedTuple):
    """GPUs to use."""

    keys: dict[str, str]  #: in leases, by the user's names: UUIDs where the driver answers
    devices: Devices | None  #: to ask the driver, where it answers; opened when asked
    #: Of all cards of the machine, or of their slices, by the cards' numbers, where it answers.
    uuids: dict[str, tuple[str, ...]]


def select_gpus(
    words: Sequence[str] | None, tell: Callable[[str], None], *, option: str = "--gpus"
) -> GpuSelection:
    """The ids to use, named by the user or all of the machine.

    Args:
        words: what the user named; None: all, within an inherited CUDA_VISIBLE_DEVICES (for AMD's
            cards see `hip`).
        tell: is given a warning.
        option: by which the user names GPUs.

    Raises:
        UsageError: there is no such GPU, or none at all.
    """
    try:
        if words is None:
            return _gpus_of_machine(os.environ.get("CUDA_VISIBLE_DEVICES"))
        return _named_gpus(words, tell)
    except UsageError as error:
        raise UsageError(str(error).replace("--gpus", option)) from None


def _named_gpus(words: Sequence[str], tell: Callable[[str], None]) -> GpuSelection:
    ids = gpu_ids.parse_gpu_ids(words)
    if nvml.driver_present(os.environ.get("LD_LIBRARY_PATH", "")):
        try:
            return _known(ids, nvml.gpu_names())
        except nvml.NoDriverError as error:
            tell(f"warning: the NVIDIA driver doesn't answer ({error}); using GPUs as named")
    elif hip.is_amd_machine():
        from simple_gpu_scheduler.gpus.amd import NoAmdDriverError, NoAmdsmiError

        try:
            return GpuSelection(*hip.chosen_cards(ids, os.environ))
        except NoAmdsmiError:
            pass  # who doesn't ask for all cards may do without
        except NoAmdDriverError as error:
            tell(f"warning: {error}; using GPUs as named")
    return GpuSelection({one: one for one in ids}, None, {})


def _gpus_of_machine(inherited: str | None) -> GpuSelection:
    try:
        names = nvml.gpu_names()
    except nvml.NoDriverError as error:
        if hip.is_amd_machine():
            return _amd_gpus_of_machine()
        raise UsageError(
            f"no GPU found: the NVIDIA driver doesn't answer ({error}); if the machine has GPUs, "
            "see that nvidia-smi works, else name slots yourself, such as --gpus 0,1,2"
        ) from None
    if not names:
        raise UsageError(
            "no GPU found: the NVIDIA driver answers, but has none; name slots yourself, such as "
            "--gpus 0,1,2"
        )
    ids = gpu_ids.visible_ids(names, inherited)
    if not ids:
        where = "" if inherited is None else f" within CUDA_VISIBLE_DEVICES={inherited!r}"
        raise UsageError(
            f"no GPU found: the machine has {len(names)}, none of them usable{where}; "
            "unset or correct the variable, or name GPUs by --gpus 0,1,2"
        )
    return _known(ids, names)


def _amd_gpus_of_machine() -> GpuSelection:
    from simple_gpu_scheduler.gpus.amd import NoAmdDriverError

    try:
        return GpuSelection(*hip.chosen_cards(None, os.environ))
    except NoAmdDriverError as error:
        raise UsageError(
            f"no GPU found: {error}; or name slots yourself, such as --gpus 0,1,2"
        ) from None


def _known(ids: Sequence[str], names: Sequence[gpu_ids.GpuName]) -> GpuSelection:
    """These of the GPUs that the driver knows."""
    uuids = gpu_ids.uuids(ids, names)
    return GpuSelection(uuids, nvml.NvmlDevices(), gpu_ids.uuids_by_number(names))
