"""A fake of the machine's GPUs."""

from __future__ import annotations

from collections.abc import Iterable

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.records import Gpu, Xid


class FakeDevices:
    """GPUs that a test describes; implements `gpus.ports.Devices`."""

    def __init__(self, gpus: Iterable[Gpu] = ()) -> None:
        """`gpus` are the GPUs of the machine at first."""
        self._gpus = list(gpus)
        self._faults: dict[str, str] = {}
        self._reported: list[Xid] = []
        self._listens = False
        self.driver_error = ""  #: why the driver doesn't answer; empty: it does

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs, by their numbers.

        Raises:
            SgsError: `driver_error` is set.
        """
        self._check()
        return tuple(
            gpu._replace(fault=gpu.fault or self._faults.get(gpu.parent or gpu.uuid, ""))
            for gpu in sorted(self._gpus, key=lambda gpu: gpu.number)
        )

    def xids(self) -> tuple[Xid, ...]:
        """The errors reported since the last call; those before the first call are left out.

        Raises:
            SgsError: `driver_error` is set.
        """
        self._check()
        self._listens = True
        xids, self._reported = tuple(self._reported), []
        self._faults.update({xid.uuid: str(xid) for xid in xids if xid.is_fault})
        return xids

    def close(self) -> None:
        """Stop listening to errors, and forget those reported."""
        self._listens = False
        self._faults.clear()
        self._reported.clear()

    def put(self, gpu: Gpu) -> None:
        """Add a GPU, or replace the one with this UUID."""
        self._gpus = [other for other in self._gpus if other.uuid != gpu.uuid] + [gpu]

    def lose(self, uuid: str) -> None:
        """Let a GPU fall off the bus: the driver knows only its number and UUID."""
        self._gpus = [
            Gpu(gpu.number, uuid, fault="the GPU has fallen off the bus")
            if gpu.uuid == uuid
            else gpu
            for gpu in self._gpus
        ]

    def report(self, xid: Xid) -> None:
        """Let the driver report an error; it is lost unless `xids` was called before."""
        if self._listens:
            self._reported.append(xid)

    def _check(self) -> None:
        if self.driver_error:
            raise SgsError(self.driver_error)
