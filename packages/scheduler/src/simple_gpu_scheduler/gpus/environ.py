"""The environment variables that tell a job its GPUs and its lease."""

from __future__ import annotations

from collections.abc import Iterable

from simple_gpu_scheduler.gpus.vendor import is_amd_machine

#: The token of the lease that a program runs in. A scheduler that it starts uses that lease.
LEASE_VARIABLE = "SGS_LEASE"

#: The variables by which vendors' libraries see only some GPUs.
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")

#: Where jobs share a GPU, frameworks must not take all of its memory at once. These are defaults:
#: variables that the user has set stay.
SHARED_GPU_ENVIRON = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


def gpu_environ(gpus: Iterable[str]) -> dict[str, str]:
    """The variables that let a job see only these GPUs, in the order of nvidia-smi's numbers.

    HIP reads both lists of GPUs. They are equal, as frameworks refuse lists that differ.
    """
    names = ",".join(gpus)
    environ = {"CUDA_VISIBLE_DEVICES": names, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {**environ, "HIP_VISIBLE_DEVICES": names} if is_amd_machine() else environ
