"""Sleep until somebody writes to the queue's files."""

from __future__ import annotations

import os
import select
from collections.abc import Collection, Iterable

from simple_gpu_scheduler.system.fds import drain
from simple_gpu_scheduler.system.inotify import watch_writes

#: The next sleep after a change, and every sleep if this user has no inotify instances left.
_POLL_AGAIN_S = 0.1


class QueueChanges:
    """Watches some folders for writes. A context manager."""

    def __init__(self, folders: Iterable[str]) -> None:
        try:
            self._fd: int | None = watch_writes(folders)
        except OSError:
            self._fd = None
        self._changed = False

    def __enter__(self) -> QueueChanges:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def wait(
        self, timeout_s: float | None = None, fds: Collection[int] = (), gone: int | None = None
    ) -> frozenset[int]:
        """Sleep until a file may have changed, time is up, or a descriptor is ready.

        The kernel reports a write a little before others can read it. So the sleep after a report
        is short.

        Args:
            timeout_s: seconds to sleep at most; None: no limit.
            fds: descriptors that end the sleep when they can be read.
            gone: a descriptor that we write to. It is ready once nobody reads its other end.

        Returns:
            The descriptors that are ready.
        """
        poll = select.poll()
        for fd in (*fds, *([] if self._fd is None else [self._fd])):
            poll.register(fd, select.POLLIN)
        if gone is not None:
            poll.register(gone, 0)
        limits_s = [] if timeout_s is None else [timeout_s]
        if self._changed or self._fd is None:
            limits_s.append(_POLL_AGAIN_S)
        ready = {fd for fd, _ in poll.poll(min(limits_s) * 1000 if limits_s else None)}
        self._changed = self._fd is not None and self._fd in ready and drain(self._fd)
        return frozenset(ready - {self._fd})
