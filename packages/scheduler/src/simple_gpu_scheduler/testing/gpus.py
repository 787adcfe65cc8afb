"""A public fake of the machine's GPUs: it passes the same contract tests as the real parts."""

from __future__ import annotations

from collections.abc import Iterable

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.records import Gpu, Xid


class FakeDevices:
    """GPUs as a test says; implements `device_ports.Devices`."""

    def __init__(self, gpus: Iterable[Gpu] = ()) -> None:
        self._gpus = list(gpus)
        self._faults: dict[str, str] = {}
        self._reported: list[Xid] = []
        self._listens = False
        self.driver_error = ""  #: not empty: the driver doesn't answer, for this reason

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs as they were last put here.

        Raises:
            SgsError: `driver_error` says so.
        """
        self._check()
        return tuple(
            gpu._replace(fault=gpu.fault or self._faults.get(gpu.parent or gpu.uuid, ""))
            for gpu in sorted(self._gpus, key=lambda gpu: gpu.number)
        )

    def xids(self) -> tuple[Xid, ...]:
        """What was reported since the last call; nothing from before the first one.

        Raises:
            SgsError: `driver_error` says so.
        """
        self._check()
        self._listens = True
        found, self._reported = tuple(self._reported), []
        self._faults.update({one.uuid: str(one) for one in found if one.is_fault})
        return found

    def close(self) -> None:
        """Listen no more, and forget what was reported."""
        self._listens = False
        self._faults.clear()
        self._reported.clear()

    def put(self, gpu: Gpu) -> None:
        """Add a GPU, or let the one of that UUID be like this from now on."""
        self._gpus = [one for one in self._gpus if one.uuid != gpu.uuid] + [gpu]

    def lose(self, uuid: str) -> None:
        """Let a card fall off the bus: nothing is known of it any more but its place."""
        self._gpus = [
            Gpu(one.number, uuid, fault="the GPU has fallen off the bus")
            if one.uuid == uuid
            else one
            for one in self._gpus
        ]

    def report(self, xid: Xid) -> None:
        """Let the driver report an error."""
        if self._listens:
            self._reported.append(xid)

    def _check(self) -> None:
        if self.driver_error:
            raise SgsError(self.driver_error)
