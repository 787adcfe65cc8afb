"""The port to a vendor's driver.

`gpus.nvml` and `gpus.amd` implement it. The fake for tests is in `testing.gpus`.
"""

from __future__ import annotations

from typing import Protocol

from simple_gpu_scheduler.gpus.records import Gpu, Xid


class Devices(Protocol):
    """Reads the GPUs of the machine."""

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs as they are now, in the order of their numbers.

        A GPU that has failed is among them, with its `fault`. The others can be read all the same.

        Raises:
            SgsError: the driver doesn't answer. A later call may succeed.
        """
        ...

    def xids(self) -> tuple[Xid, ...]:
        """Errors that the driver reported since the last call. The first call begins to listen.

        It never waits. A vendor whose driver reports no such errors has none. If one of them
        `is_fault`, `gpus` shows a `fault` of its GPU until `close`.

        Raises:
            SgsError: the driver doesn't answer.
        """
        ...

    def close(self) -> None:
        """Close the driver and forget its errors. A later call opens it again."""
        ...
