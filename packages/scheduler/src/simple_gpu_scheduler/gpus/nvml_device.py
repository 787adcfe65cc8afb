"""One card, or one MIG slice, as NVML describes it.

`nvml` is the binding (pynvml), imported by the caller. What a card doesn't support is None; only
that the card itself is lost is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simple_gpu_scheduler.gpus.processes import gpu_process
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess, LinkEnd, normal_pci

_MIB = 1 << 20
#: The ways in which a process may use a card. Each has a name with a version for old drivers.
_PROCESS_LISTS = (
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
)


class CardFailedError(Exception):
    """The card answers nothing any more; the text says why."""


def ask(nvml: Any, function: str, *arguments: Any) -> Any:
    """What NVML answers, or None if this card, driver or binding can't.

    Raises:
        CardFailedError: the card is lost or needs a reset.
    """
    try:
        return getattr(nvml, function)(*arguments)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
            raise CardFailedError(failure(nvml, error)) from None
        return None
    except AttributeError:  # an older binding
        return None


def failure(nvml: Any, error: Any) -> str:
    """Why a card can't be used, and what helps."""
    if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
        return "the card has fallen off the bus; see dmesg for its Xid, then reset or reboot"
    if error.value == nvml.NVML_ERROR_RESET_REQUIRED:
        return "the card needs a reset (nvidia-smi --gpu-reset) or a reboot"
    return f"the driver can't open the card: {error}"


def text(value: Any) -> str:
    """A string of NVML, which some versions of the binding give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def uuid(nvml: Any, device: Any) -> str:
    """The UUID of a card or slice."""
    return text(ask(nvml, "nvmlDeviceGetUUID", device))


def slices(nvml: Any, device: Any) -> list[Any] | None:
    """Handles of the slices that MIG has cut the card into; None if MIG is off."""
    mode = ask(nvml, "nvmlDeviceGetMigMode", device)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    places = range(ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", device) or 0)
    found = (ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", device, k) for k in places)
    return [one for one in found if one is not None]


def read_card(nvml: Any, index: int, device: Any) -> Gpu:
    """A whole card, without its links.

    Raises:
        CardFailedError: the card is lost.
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


def read_slice(nvml: Any, card: Gpu, device: Any, places: int | None) -> Gpu:
    """A MIG slice of a card, with the memory, processes and share that are its own.

    Args:
        places: how many of the smallest slices the card could have.

    Raises:
        CardFailedError: the card is lost.
    """
    total_mib, used_mib = _memory_mib(nvml, device)
    attributes = ask(nvml, "nvmlDeviceGetAttributes", device)
    share = attributes.gpuInstanceSliceCount / places if attributes and places else None
    return card._replace(
        uuid=uuid(nvml, device),
        name=text(ask(nvml, "nvmlDeviceGetName", device)) or card.name,
        memory_total_mib=total_mib,
        memory_used_mib=used_mib,
        utilisation_percent=_utilisation(nvml, device),
        processes=_processes(nvml, device),
        parent=card.uuid,
        compute_share=share,
    )


def link_ends(nvml: Any, device: Any) -> Iterator[LinkEnd]:
    """The far ends of the card's NVLinks that are up.

    Raises:
        CardFailedError: the card is lost.
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
    """The NUMA node of the CPUs near the card.

    The kernel knows. NVML's own answer is, on machines where cards are NUMA nodes themselves, the
    node of the card's memory; it serves only where /sys doesn't show the card.
    """
    try:
        with open(f"/sys/bus/pci/devices/{normal_pci(bus_id)}/numa_node", "rb") as file:
            node = int(file.read())
    except (OSError, ValueError):
        answer = ask(nvml, "nvmlDeviceGetNumaNodeId", device)
        return None if answer is None else int(answer)
    return node if node >= 0 else None  # -1: the machine has but one


def _memory_mib(nvml: Any, device: Any) -> tuple[int | None, int | None]:
    """Total and used. Used has what the driver keeps for itself, so that the rest is free."""
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
    return f"{errors} uncorrectable ECC errors since the driver was loaded; reset the card"


def _processes(nvml: Any, device: Any) -> tuple[GpuProcess, ...]:
    """Each process once, by pid, with the most memory that one of the lists names for it."""
    memory_mib: dict[int, int | None] = {}
    for function in _PROCESS_LISTS:
        listed = ask(nvml, function, device)
        if listed is None:  # a driver before 510
            listed = ask(nvml, f"{function}_v2", device)
        for one in listed or ():
            used = one.usedGpuMemory
            known = memory_mib.get(one.pid)
            mib = known if used is None else max(known or 0, used // _MIB)
            memory_mib[one.pid] = mib
    return tuple(gpu_process(pid, mib) for pid, mib in sorted(memory_mib.items()))
