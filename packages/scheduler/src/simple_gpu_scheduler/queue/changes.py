"""News of the queue: a sleep that ends when its files are written to."""

from __future__ import annotations

import os
import select
from collections.abc import Collection, Iterable

from simple_gpu_scheduler.system.fds import drain
from simple_gpu_scheduler.system.inotify import watch_writes

#: After news, and where the kernel has no more inotify instances for this user.
_LOOK_TWICE_S = 0.1


class QueueChanges:
    """Some folders, watched; a context manager."""

    def __init__(self, folders: Iterable[str]) -> None:
        try:
            self._fd: int | None = watch_writes(folders)
        except OSError:
            self._fd = None
        self._told = False

    def __enter__(self) -> QueueChanges:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def wait(
        self, timeout_s: float | None = None, fds: Collection[int] = (), gone: int | None = None
    ) -> frozenset[int]:
        """Sleep until there may be news, time is up, or a descriptor is ready; returns those.

        What was written is to be seen a little after it is told, so the sleep after news is short.

        Args:
            gone: a descriptor that is written to; it is ready once nobody reads it any more.
        """
        poll = select.poll()
        for fd in (*fds, *([] if self._fd is None else [self._fd])):
            poll.register(fd, select.POLLIN)
        if gone is not None:
            poll.register(gone, 0)
        limits_s = [] if timeout_s is None else [timeout_s]
        if self._told or self._fd is None:
            limits_s.append(_LOOK_TWICE_S)
        found = {fd for fd, _ in poll.poll(min(limits_s) * 1000 if limits_s else None)}
        self._told = self._fd is not None and self._fd in found and drain(self._fd)
        return frozenset(found - {self._fd})
