"""The machine's NVIDIA cards, asked of the driver through NVML.

pynvml (nvidia-ml-py) is imported only when cards are asked for.
"""

from __future__ import annotations

import os
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus import nvml_device
from simple_gpu_scheduler.gpus.ids import GpuName
from simple_gpu_scheduler.gpus.nvml_device import CardFailedError
from simple_gpu_scheduler.gpus.records import Gpu, LinkEnd, Xid, normal_pci, peers

_DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg")


class NoDriverError(SgsError):
    """NVML can't be asked: there is no NVIDIA driver, or it doesn't answer."""


def driver_present(library_path: str) -> bool:
    """Whether asking NVML is worth its time; a look at a few files.

    Args:
        library_path: LD_LIBRARY_PATH, where a container or a test may bring the library.
    """
    libraries = (os.path.join(d, "libnvidia-ml.so.1") for d in library_path.split(":") if d)
    return any(os.path.exists(path) for path in (*_DRIVER_FILES, *libraries))


def gpu_names() -> list[GpuName]:
    """All cards in nvidia-smi's order, lost ones without UUID; one cut by MIG gives its slices.

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
        cut = nvml_device.slices(nvml, device) or ()
        names = [GpuName("", nvml_device.uuid(nvml, one), str(index)) for one in cut]
        return names or [GpuName(str(index), nvml_device.uuid(nvml, device))]
    except (nvml.NVMLError_GpuIsLost, CardFailedError):
        return [GpuName(str(index), "")]


class NvmlDevices:
    """Looks at the cards through NVML, which is taken up once; implements `Devices`."""

    def __init__(self) -> None:
        self._nvml: Any = None  #: the binding, while NVML is up
        self._events: Any = None  #: a set of events, once somebody asked for Xids
        self._uuids: dict[int, str] = {}  #: by number, so that a lost card still has a name
        self._listening: dict[int, str] = {}  #: UUIDs by address of the handle
        self._ends: dict[str, tuple[LinkEnd, ...]] = {}  #: cables don't move: asked once
        self._faults: dict[str, str] = {}

    def gpus(self) -> tuple[Gpu, ...]:
        """All cards as they are now; one cut by MIG gives its slices instead.

        Raises:
            NoDriverError: NVML doesn't answer.
        """
        nvml = self._open()
        try:
            found = [
                gpu for index in range(nvml.nvmlDeviceGetCount()) for gpu in self._card(index)
            ]
        except nvml.NVMLError as error:  # the driver was unloaded or updated: begin anew next time
            self.close()
            raise NoDriverError(str(error)) from None
        return tuple(map(self._with_fault, self._with_links(found)))

    def xids(self) -> tuple[Xid, ...]:
        """Errors reported since the last call; none where NVML has no events.

        Raises:
            NoDriverError: NVML doesn't answer.
        """
        nvml = self._open()
        if self._events is None:
            self._listen()
        found: list[Xid] = []
        while self._events:
            try:
                event = nvml.nvmlEventSetWait(self._events, 0)
            except nvml.NVMLError:  # a time-out: there is no more
                break
            uuid = self._listening.get(_address(event.device))
            if uuid is not None and event.eventType == nvml.nvmlEventTypeXidCriticalError:
                found.append(Xid(uuid, int(event.eventData)))
        self._faults.update({one.uuid: str(one) for one in found if one.is_fault})
        return tuple(found)

    def close(self) -> None:
        """Let NVML go, and forget what it reported: a reset card is a good one."""
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

    def _card(self, index: int) -> list[Gpu]:
        nvml = self._nvml
        try:
            device = nvml.nvmlDeviceGetHandleByIndex(index)
            card = nvml_device.read_card(nvml, index, device)
            self._uuids[index] = card.uuid
            if card.uuid not in self._ends:
                self._ends[card.uuid] = tuple(nvml_device.link_ends(nvml, device))
            cut = nvml_device.slices(nvml, device)
            places = (
                nvml_device.ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", device) if cut else None
            )
            parts = [nvml_device.read_slice(nvml, card, one, places) for one in cut or ()]
        except CardFailedError as error:
            return [self._failed(index, str(error))]
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_UNINITIALIZED:
                raise
            return [self._failed(index, nvml_device.failure(nvml, error))]
        if cut == []:
            card = card._replace(fault=card.fault or "MIG is on, but there are no slices of it")
        return parts or [card]

    def _failed(self, index: int, fault: str) -> Gpu:
        return Gpu(index, self._uuids.get(index, ""), fault=fault)

    def _with_links(self, gpus: list[Gpu]) -> list[Gpu]:
        """Whole cards with their links; slices can't use any."""
        cards = {gpu.uuid: gpu for gpu in gpus if gpu.uuid and not gpu.parent and not gpu.fault}
        uuids = {normal_pci(one.pci_bus_id): one.uuid for one in cards.values()}
        ends = {uuid: self._ends.get(uuid, ()) for uuid in cards}
        return [
            gpu._replace(links=tuple(peers(gpu.uuid, ends, uuids))) if gpu.uuid in cards else gpu
            for gpu in gpus
        ]

    def _with_fault(self, gpu: Gpu) -> Gpu:
        fault = self._faults.get(gpu.parent or gpu.uuid, "")
        return gpu._replace(fault=gpu.fault or fault) if fault else gpu

    def _listen(self) -> None:
        nvml = self._nvml
        self._events = nvml_device.ask(nvml, "nvmlEventSetCreate") or False
        for index in range(
            nvml_device.ask(nvml, "nvmlDeviceGetCount") or 0 if self._events else 0
        ):
            try:
                self._listen_to(nvml, index)
            except (nvml.NVMLError, CardFailedError):
                continue  # it has no events, or is lost: `gpus` says so

    def _listen_to(self, nvml: Any, index: int) -> None:
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        if nvml.nvmlDeviceGetSupportedEventTypes(device) & nvml.nvmlEventTypeXidCriticalError:
            nvml.nvmlDeviceRegisterEvents(device, nvml.nvmlEventTypeXidCriticalError, self._events)
            self._listening[_address(device)] = nvml_device.uuid(nvml, device)


def _address(device: Any) -> int:
    """What a handle points to: handles of one card compare equal by it."""
    import ctypes

    return ctypes.cast(device, ctypes.c_void_p).value or 0
