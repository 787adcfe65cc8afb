"""What others need of the machine's GPUs.

The real parts are `gpus.nvml` and `gpus.amd`, the fake is in `testing.gpus`.
"""

from __future__ import annotations

from typing import Protocol

from simple_gpu_scheduler.gpus.records import Gpu, Xid


class Devices(Protocol):
    """Looks at the GPUs."""

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs as they are now, in the order of their numbers.

        A card that has failed is there with its `fault`; the others don't suffer.

        Raises:
            SgsError: the driver doesn't answer. It may do so the next time.
        """
        ...

    def xids(self) -> tuple[Xid, ...]:
        """Errors that the driver has reported since the last call; the first begins to listen.

        Never waits. A GPU with an `is_fault` among them is shown with a `fault` until
        `close`.

        Raises:
            SgsError: the driver doesn't answer.
        """
        ...

    def close(self) -> None:
        """Let the driver go, and forget its reports; a later call of the others begins anew."""
        ...
