"""The machine's NVIDIA GPUs, read through NVML.

pynvml (nvidia-ml-py) is imported only when GPUs are read.
"""

from __future__ import annotations

from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus import nvml_device
from simple_gpu_scheduler.gpus.ids import GpuName
from simple_gpu_scheduler.gpus.nvml_device import GpuFailedError
from simple_gpu_scheduler.gpus.records import Gpu, LinkEnd, Xid, normal_pci, peers


class NoDriverError(SgsError):
    """NVML doesn't answer: there is no NVIDIA driver, or it has failed."""


def gpu_names() -> list[GpuName]:
    """The names of all GPUs in nvidia-smi's order; of GPUs cut by MIG, those of their slices.

    A lost GPU has no UUID.

    Raises:
        NoDriverError: NVML doesn't answer.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriverError(str(error)) from None
    try:
        names: list[GpuName] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            names += _names(pynvml, index)
        return names
    except pynvml.NVMLError as error:
        raise NoDriverError(str(error)) from None
    finally:
        pynvml.nvmlShutdown()


def _names(nvml: Any, index: int) -> list[GpuName]:
    try:
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        slices = nvml_device.slices(nvml, device) or ()
        names = [GpuName("", nvml_device.uuid(nvml, part), str(index)) for part in slices]
        return names or [GpuName(str(index), nvml_device.uuid(nvml, device))]
    except (nvml.NVMLError_GpuIsLost, GpuFailedError):
        return [GpuName(str(index), "")]


class NvmlDevices:
    """Reads the GPUs through NVML, which is opened once; implements `Devices`."""

    def __init__(self) -> None:
        self._nvml: Any = None  #: the module pynvml, while NVML is open
        #: NVML's event set; None: not listening yet; False: NVML has no events.
        self._events: Any = None
        self._uuids: dict[int, str] = {}  #: by number, so that a lost GPU still has a UUID
        self._listening: dict[int, str] = {}  #: UUIDs, by the address of the handle
        #: The far ends of links, by UUID. They are read once, as links don't change.
        self._ends: dict[str, tuple[LinkEnd, ...]] = {}
        self._faults: dict[str, str] = {}  #: by UUID, from Xids

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs as they are now; of GPUs cut by MIG, their slices.

        Raises:
            NoDriverError: NVML doesn't answer.
        """
        nvml = self._open()
        try:
            count = nvml.nvmlDeviceGetCount()
            gpus = [gpu for index in range(count) for gpu in self._read(index)]
        except nvml.NVMLError as error:
            self.close()  # the driver was unloaded or updated: open it again at the next call
            raise NoDriverError(str(error)) from None
        return tuple(map(self._with_fault, self._with_links(gpus)))

    def xids(self) -> tuple[Xid, ...]:
        """Errors reported since the last call; none if NVML has no events.

        Raises:
            NoDriverError: NVML doesn't answer.
        """
        nvml = self._open()
        if self._events is None:
            self._listen()
        xids: list[Xid] = []
        while self._events:
            try:
                event = nvml.nvmlEventSetWait(self._events, 0)
            except nvml.NVMLError:  # a timeout: there are no more
                break
            uuid = self._listening.get(_address(event.device))
            if uuid is not None and event.eventType == nvml.nvmlEventTypeXidCriticalError:
                xids.append(Xid(uuid, int(event.eventData)))
        self._faults.update({xid.uuid: str(xid) for xid in xids if xid.is_fault})
        return tuple(xids)

    def close(self) -> None:
        """Close NVML and forget its errors: the GPUs may be reset before the next call."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            if self._events:
                nvml_device.ask(nvml, "nvmlEventSetFree", self._events)
            nvml_device.ask(nvml, "nvmlShutdown")
        self._events = None
        self._listening.clear()
        self._faults.clear()

    def __enter__(self) -> NvmlDevices:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Any:
        import pynvml

        if self._nvml is None:
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError as error:
                raise NoDriverError(str(error)) from None
            self._nvml = pynvml
        return pynvml

    def _read(self, index: int) -> list[Gpu]:
        """The GPU of that number, or its slices."""
        nvml = self._nvml
        try:
            device = nvml.nvmlDeviceGetHandleByIndex(index)
            gpu = nvml_device.read_gpu(nvml, index, device)
            self._uuids[index] = gpu.uuid
            if gpu.uuid not in self._ends:
                self._ends[gpu.uuid] = tuple(nvml_device.link_ends(nvml, device))
            handles = nvml_device.slices(nvml, device)
            most_slices = nvml_device.most_slices(nvml, device) if handles else None
            slices = [
                nvml_device.read_slice(nvml, gpu, handle, most_slices) for handle in handles or ()
            ]
        except GpuFailedError as error:
            return [self._failed_gpu(index, str(error))]
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_UNINITIALIZED:
                raise
            return [self._failed_gpu(index, nvml_device.failure(nvml, error))]
        if handles == []:
            gpu = gpu._replace(fault=gpu.fault or "MIG is on, but there are no slices of it")
        return slices or [gpu]

    def _failed_gpu(self, index: int, fault: str) -> Gpu:
        return Gpu(index, self._uuids.get(index, ""), fault=fault)

    def _with_links(self, gpus: list[Gpu]) -> list[Gpu]:
        """Add the links of whole GPUs; slices can't use links."""
        whole = [gpu for gpu in gpus if gpu.uuid and not gpu.parent and not gpu.fault]
        uuids = {normal_pci(gpu.pci_bus_id): gpu.uuid for gpu in whole}
        ends = {gpu.uuid: self._ends.get(gpu.uuid, ()) for gpu in whole}
        return [
            gpu._replace(links=tuple(peers(gpu.uuid, ends, uuids))) if gpu.uuid in ends else gpu
            for gpu in gpus
        ]

    def _with_fault(self, gpu: Gpu) -> Gpu:
        fault = self._faults.get(gpu.parent or gpu.uuid, "")
        return gpu._replace(fault=gpu.fault or fault) if fault else gpu

    def _listen(self) -> None:
        nvml = self._nvml
        self._events = nvml_device.ask(nvml, "nvmlEventSetCreate") or False
        if not self._events:
            return
        for index in range(nvml_device.ask(nvml, "nvmlDeviceGetCount") or 0):
            try:
                self._listen_to(nvml, index)
            except (nvml.NVMLError, GpuFailedError):
                continue  # it has no events, or is lost, which `gpus` shows

    def _listen_to(self, nvml: Any, index: int) -> None:
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        if nvml.nvmlDeviceGetSupportedEventTypes(device) & nvml.nvmlEventTypeXidCriticalError:
            nvml.nvmlDeviceRegisterEvents(device, nvml.nvmlEventTypeXidCriticalError, self._events)
            self._listening[_address(device)] = nvml_device.uuid(nvml, device)


def _address(device: Any) -> int:
    """The address that a handle points to. Handles of the same GPU have the same."""
    import ctypes

    return ctypes.cast(device, ctypes.c_void_p).value or 0
