"""The machine's AMD GPUs, read through amdsmi.

amdsmi comes with ROCm (/opt/rocm/share/amd_smi) or as an extra. It is imported only when GPUs are
read.

This module follows AMD's documentation and headers of ROCm 6.2 to 7.2: memory of a GPU in MiB and
of a process in bytes, temperatures in degrees Celsius, powers in watts, "N/A" for missing values.
It was tested with a stand-in for amdsmi, never on a GPU. Untested are: which sensors a GPU has,
what a failed GPU raises, and partitions of an MI300.

ROCm has no Xids. amdsmi doesn't count links, so two linked GPUs are shown with one link.
"""

from __future__ import annotations

from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.processes import gpu_process
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess, Link, Xid

_MIB = 1 << 20


class NoAmdDriverError(SgsError):
    """amdsmi doesn't answer: it is not installed, or there is no AMD driver."""


class NoAmdsmiError(NoAmdDriverError):
    """amdsmi is not installed."""


class AmdDevices:
    """Reads the GPUs through amdsmi, which is opened once; implements `Devices`."""

    def __init__(self) -> None:
        self._smi: Any = None  #: the module, while amdsmi is open

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs as they are now.

        Raises:
            NoAmdDriverError: amdsmi doesn't answer.
        """
        smi = self._open()
        try:
            handles = smi.amdsmi_get_processor_handles()
        except smi.AmdSmiException as error:
            self.close()
            raise _no_driver(error) from None
        gpus = [_read_gpu(smi, place, handle) for place, handle in enumerate(handles)]
        uuids = [gpu.uuid for gpu in gpus]
        linked = [
            gpu._replace(links=_links(smi, handle, handles, uuids))
            for gpu, handle in zip(gpus, handles, strict=True)
        ]
        return tuple(sorted(linked, key=lambda gpu: gpu.number))

    def xids(self) -> tuple[Xid, ...]:
        """No errors: only NVIDIA has Xids."""
        return ()

    def close(self) -> None:
        """Close amdsmi."""
        smi, self._smi = self._smi, None
        if smi is not None:
            _ask(smi, "amdsmi_shut_down")

    def __enter__(self) -> AmdDevices:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Any:
        if self._smi is None:
            smi = _import_amdsmi()
            try:
                smi.amdsmi_init()
            except smi.AmdSmiException as error:
                raise _no_driver(error) from None
            self._smi = smi
        return self._smi


def _import_amdsmi() -> Any:
    import importlib

    try:
        return importlib.import_module("amdsmi")
    except ImportError:
        raise NoAmdsmiError(
            "AMD GPUs are read through amdsmi, which is not installed; it comes with ROCm "
            "(pip install /opt/rocm/share/amd_smi), and is the extra `amd` of simple-gpu-scheduler"
        ) from None
    except Exception as error:  # its import loads libamd_smi.so, which fails in several ways
        raise _no_driver(error) from None


def _no_driver(error: Exception) -> NoAmdDriverError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return NoAmdDriverError(
        f"the AMD driver doesn't answer ({reason}); see that amd-smi list works, and that you "
        "are in the groups video and render"
    )


def _ask(smi: Any, function: str, *arguments: Any) -> Any:
    """What amdsmi answers; None if this GPU, driver or version has no answer."""
    try:
        return getattr(smi, function)(*arguments)
    except (AttributeError, smi.AmdSmiException):
        return None


def _field(answer: Any, *names: str) -> Any:
    """The first of these fields that has a value; "N/A" is no value."""
    fields = answer if isinstance(answer, dict) else {}
    return next((fields[name] for name in names if fields.get(name, "N/A") != "N/A"), None)


def _number(answer: Any, *names: str) -> int | None:
    value = _field(answer, *names)
    return int(value) if isinstance(value, int | float) else None


def _read_gpu(smi: Any, place: int, handle: Any) -> Gpu:
    ids = _ask(smi, "amdsmi_get_gpu_enumeration_info", handle)  # since ROCm 6.4
    hip = _number(ids, "hip_id")
    uuid = _field(ids, "hip_uuid") or _ask(smi, "amdsmi_get_gpu_device_uuid", handle)
    memory = _ask(smi, "amdsmi_get_gpu_vram_usage", handle)
    power = _ask(smi, "amdsmi_get_power_info", handle)
    watts = _number(power, "current_socket_power", "average_socket_power", "socket_power")
    node = _ask(smi, "amdsmi_topo_get_numa_node_number", handle)
    return Gpu(
        place if hip is None else hip,
        str(uuid or ""),
        str(_field(_ask(smi, "amdsmi_get_gpu_asic_info", handle), "market_name") or ""),
        str(_ask(smi, "amdsmi_get_gpu_device_bdf", handle) or ""),
        memory_total_mib=_number(memory, "vram_total"),
        memory_used_mib=_number(memory, "vram_used"),
        utilisation_percent=_number(_ask(smi, "amdsmi_get_gpu_activity", handle), "gfx_activity"),
        temperature_c=_temperature_c(smi, handle),
        power_w=None if watts is None else float(watts),
        processes=_processes(smi, handle),
        numa_node=node if isinstance(node, int) and node >= 0 else None,
        fault=_fault(smi, handle, uuid),
    )


def _temperature_c(smi: Any, handle: Any) -> int | None:
    """The temperature of the edge, as amd-smi shows it; of the hotspot if there is no other."""
    for sensor in (smi.AmdSmiTemperatureType.EDGE, smi.AmdSmiTemperatureType.HOTSPOT):
        current = smi.AmdSmiTemperatureMetric.CURRENT
        celsius = _ask(smi, "amdsmi_get_temp_metric", handle, sensor, current)
        if isinstance(celsius, int | float):
            return int(celsius)
    return None


def _fault(smi: Any, handle: Any, uuid: Any) -> str:
    if not uuid:
        return "the driver can't open the GPU; see dmesg"
    ecc = _ask(smi, "amdsmi_get_gpu_total_ecc_count", handle)
    errors = _number(ecc, "uncorrectable_count")
    return f"{errors} uncorrectable ECC errors; reset the GPU" if errors else ""


def _processes(smi: Any, handle: Any) -> tuple[GpuProcess, ...]:
    listed = _ask(smi, "amdsmi_get_gpu_process_list", handle) or ()
    processes: dict[int, GpuProcess] = {}
    for answer in listed:
        pid = _number(answer, "pid")  # before ROCm 6.1 the list had handles instead
        if pid is not None:
            used = _number(_field(answer, "memory_usage"), "vram_mem")
            processes[pid] = gpu_process(pid, None if used is None else used // _MIB)
    return tuple(processes[pid] for pid in sorted(processes))


def _links(smi: Any, handle: Any, handles: Any, uuids: list[str]) -> tuple[Link, ...]:
    links: list[Link] = []
    for other, uuid in zip(handles, uuids, strict=True):
        if other is not handle and uuid:
            kind = _number(_ask(smi, "amdsmi_topo_get_link_type", handle, other), "type")
            if kind == int(smi.AmdSmiLinkType.AMDSMI_LINK_TYPE_XGMI):
                links.append(Link(uuid, 1))
    return tuple(links)
