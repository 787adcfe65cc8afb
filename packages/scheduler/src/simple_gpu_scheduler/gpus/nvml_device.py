"""Read one GPU, or one MIG slice, through NVML.

The parameter `nvml` is the module pynvml. `device` is NVML's handle. A value that a GPU doesn't
support is None. An error is raised only if the GPU itself is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simple_gpu_scheduler.gpus.processes import gpu_process
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess, LinkEnd, normal_pci

_MIB = 1 << 20
#: NVML's lists of processes, by how they use the GPU. Old drivers know them by names with `_v2`.
_PROCESS_LISTS = (
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
)


class GpuFailedError(Exception):
    """The GPU doesn't answer any more; the message says why."""


def ask(nvml: Any, function: str, *arguments: Any) -> Any:
    """What NVML answers; None if this GPU, driver or version of pynvml has no answer.

    Raises:
        GpuFailedError: the GPU is lost or needs a reset.
    """
    try:
        return getattr(nvml, function)(*arguments)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
            raise GpuFailedError(failure(nvml, error)) from None
        return None
    except AttributeError:  # an older pynvml
        return None


def failure(nvml: Any, error: Any) -> str:
    """Why the GPU can't be used, and what helps."""
    if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
        return "the GPU has fallen off the bus; see dmesg for its Xid, then reset or reboot"
    if error.value == nvml.NVML_ERROR_RESET_REQUIRED:
        return "the GPU needs a reset (nvidia-smi --gpu-reset) or a reboot"
    return f"the driver can't open the GPU: {error}"


def text(value: Any) -> str:
    """A string of NVML. Some versions of pynvml return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def uuid(nvml: Any, device: Any) -> str:
    """The UUID of a GPU or slice."""
    return text(ask(nvml, "nvmlDeviceGetUUID", device))


def slices(nvml: Any, device: Any) -> list[Any] | None:
    """The handles of the GPU's MIG slices; None if MIG is off."""
    mode = ask(nvml, "nvmlDeviceGetMigMode", device)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    places = range(most_slices(nvml, device) or 0)
    handles = (ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", device, k) for k in places)
    return [handle for handle in handles if handle is not None]


def most_slices(nvml: Any, device: Any) -> int | None:
    """How many of the smallest MIG slices the GPU could have."""
    count = ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", device)
    return None if count is None else int(count)


def read_gpu(nvml: Any, index: int, device: Any) -> Gpu:
    """A whole GPU, without its links.

    Raises:
        GpuFailedError: the GPU is lost.
    """
    power_mw = ask(nvml, "nvmlDeviceGetPowerUsage", device)
    pci = ask(nvml, "nvmlDeviceGetPciInfo", device)
    bus_id = text(pci.busId) if pci else ""
    total_mib, used_mib = _memory_mib(nvml, device)
    return Gpu(
        index,
        uuid(nvml, device),
        text(ask(nvml, "nvmlDeviceGetName", device)),
        bus_id,
        memory_total_mib=total_mib,
        memory_used_mib=used_mib,
        utilisation_percent=_utilisation(nvml, device),
        temperature_c=_temperature_c(nvml, device),
        power_w=None if power_mw is None else power_mw / 1000,
        processes=_processes(nvml, device),
        numa_node=numa_node(nvml, device, bus_id),
        fault=_ecc_fault(nvml, device),
    )


def read_slice(nvml: Any, whole: Gpu, device: Any, slice_count: int | None) -> Gpu:
    """A MIG slice of a GPU, with its own memory, processes and share.

    Args:
        slice_count: how many of the smallest slices the GPU could have.

    Raises:
        GpuFailedError: the GPU is lost.
    """
    total_mib, used_mib = _memory_mib(nvml, device)
    attributes = ask(nvml, "nvmlDeviceGetAttributes", device)
    share = attributes.gpuInstanceSliceCount / slice_count if attributes and slice_count else None
    return whole._replace(
        uuid=uuid(nvml, device),
        name=text(ask(nvml, "nvmlDeviceGetName", device)) or whole.name,
        memory_total_mib=total_mib,
        memory_used_mib=used_mib,
        utilisation_percent=_utilisation(nvml, device),
        processes=_processes(nvml, device),
        parent=whole.uuid,
        compute_share=share,
    )


def link_ends(nvml: Any, device: Any) -> Iterator[LinkEnd]:
    """The far ends of the GPU's active NVLinks.

    Raises:
        GpuFailedError: the GPU is lost.
    """
    for number in range(getattr(nvml, "NVML_NVLINK_MAX_LINKS", 18)):
        state = ask(nvml, "nvmlDeviceGetNvLinkState", device, number)
        if state is None:  # it has no NVLink, or no more of them
            return
        pci = ask(nvml, "nvmlDeviceGetNvLinkRemotePciInfo", device, number) if state else None
        if pci is not None:
            kind = ask(nvml, "nvmlDeviceGetNvLinkRemoteDeviceType", device, number)
            yield LinkEnd(text(pci.busId), kind == nvml.NVML_NVLINK_DEVICE_TYPE_SWITCH)


def numa_node(nvml: Any, device: Any, bus_id: str) -> int | None:
    """The NUMA node of the CPUs near the GPU, from the kernel.

    NVML is asked only if /sys doesn't show the GPU: on machines where GPUs are NUMA nodes
    themselves, NVML returns the node of the GPU's memory.
    """
    try:
        with open(f"/sys/bus/pci/devices/{normal_pci(bus_id)}/numa_node", "rb") as file:
            node = int(file.read())
    except (OSError, ValueError):
        answer = ask(nvml, "nvmlDeviceGetNumaNodeId", device)
        return None if answer is None else int(answer)
    return node if node >= 0 else None  # -1: the machine has only one node


def _memory_mib(nvml: Any, device: Any) -> tuple[int | None, int | None]:
    """Total and used memory. Used includes what the driver keeps, so that the rest is free."""
    memory = ask(nvml, "nvmlDeviceGetMemoryInfo", device)
    return (memory.total // _MIB, memory.used // _MIB) if memory else (None, None)


def _utilisation(nvml: Any, device: Any) -> int | None:
    rates = ask(nvml, "nvmlDeviceGetUtilizationRates", device)
    return int(rates.gpu) if rates else None


def _temperature_c(nvml: Any, device: Any) -> int | None:
    sensor = nvml.NVML_TEMPERATURE_GPU
    celsius = ask(nvml, "nvmlDeviceGetTemperature", device, sensor)
    if celsius is None:  # the name of CUDA 13
        celsius = ask(nvml, "nvmlDeviceGetTemperatureV", device, sensor)
    return None if celsius is None else int(celsius)


def _ecc_fault(nvml: Any, device: Any) -> str:
    kind, counter = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
    errors = ask(nvml, "nvmlDeviceGetTotalEccErrors", device, kind, counter)
    if not errors:
        return ""
    return f"{errors} uncorrectable ECC errors since the driver was loaded; reset the GPU"


def _processes(nvml: Any, device: Any) -> tuple[GpuProcess, ...]:
    """Each process once, with the most memory that a list reports for it; sorted by pid."""
    memory_mib: dict[int, int | None] = {}
    for function in _PROCESS_LISTS:
        listed = ask(nvml, function, device)
        if listed is None:  # a driver before 510
            listed = ask(nvml, f"{function}_v2", device)
        for process in listed or ():
            used = process.usedGpuMemory
            earlier_mib = memory_mib.get(process.pid)
            mib = earlier_mib if used is None else max(earlier_mib or 0, used // _MIB)
            memory_mib[process.pid] = mib
    return tuple(gpu_process(pid, mib) for pid, mib in sorted(memory_mib.items()))
