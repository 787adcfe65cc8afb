"""What a program is told of the GPUs that it was given."""

from __future__ import annotations

from collections.abc import Iterable

from simple_gpu_scheduler.gpus.hip import is_amd_machine

#: Which lease a program runs in, so that a scheduler started by it can use that.
LEASE_VARIABLE = "SGS_LEASE"

#: Frameworks that take all of a GPU's memory at once are told not to, where it is shared. What the
#: user has set himself goes before.
MODEST = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def gpu_environ(gpus: Iterable[str]) -> dict[str, str]:
    """These GPUs and no other, in PCI order, so that index 0 is the card nvidia-smi calls 0.

    HIP reads both variables; they are alike, since frameworks refuse two that differ.
    """
    names = ",".join(gpus)
    environ = {"CUDA_VISIBLE_DEVICES": names, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {**environ, "HIP_VISIBLE_DEVICES": names} if is_amd_machine() else environ
