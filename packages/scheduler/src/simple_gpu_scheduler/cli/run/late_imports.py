"""Imports that a pipe needs only for some jobs, made once the first job runs.

So they delay no first start, and the package may be upgraded or removed while the pipe runs.
"""

from __future__ import annotations

from contextlib import suppress

from simple_gpu_scheduler.pipe.events import Event
from simple_gpu_scheduler.policy.model import Running


class LateImports:
    """A listener that makes them."""

    def __init__(self) -> None:
        self._done = False

    def on_event(self, event: Event) -> None:
        """Import them at the first start."""
        if not self._done and isinstance(event, Running):
            self._done = True
            with suppress(ImportError):  # the package is gone; plain jobs need none of them
                import_late()


def import_late() -> None:
    """Import the planner for shared GPUs, the links between GPUs, and the watch on leases."""
    import simple_gpu_scheduler.policy.dispatch
    import simple_gpu_scheduler.policy.topology
    import simple_gpu_scheduler.system.inotify  # noqa: F401
