"""When to read again: at once after a change, but with a rest after each time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from simple_gpu_scheduler.system.fds import drain

#: The rest after each time is this many times as long as the work took.
_REST = 4.0

#: One more call this long after the last change: the disk may have been slow.
_LAST_S = 1.0


class Refresher:
    """Does one thing again and again, once at a time, with a rest after each."""

    def __init__(self, work: Callable[[], Awaitable[None]], least_s: float) -> None:
        """`least_s` is the shortest rest."""
        self._work = work
        self._least_s = least_s
        self._requested = asyncio.Event()
        self._hurry = asyncio.Event()

    def request(self, *, soon: bool = False) -> None:
        """Do it once more; `soon`: without a rest before, since a person waits for it."""
        self._requested.set()
        if soon:
            self._hurry.set()

    async def run(self) -> None:
        """Do it until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._requested.wait()
            self._requested.clear()
            self._hurry.clear()
            begun_s = loop.time()
            await self._work()
            rest_s = max(self._least_s, _REST * (loop.time() - begun_s))
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), rest_s)


class Watch:
    """Calls back when something has changed.

    A change can be read only a little after the kernel reports it: so the last of several
    changes is followed by two more calls.
    """

    def __init__(
        self,
        watch: Callable[[], int],
        on_change: Callable[[], None],
        least_s: float,
        poll_s: float | None = None,
    ) -> None:
        """Begin, in the running event loop.

        Args:
            watch: gives a descriptor that is readable after a change.
            least_s: the shortest time from call to call.
            poll_s: the time from call to call where the kernel has no more inotify instances for
                this user; None: then it never calls.
        """
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._least_s = least_s
        self._poll_s = poll_s
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._fd: int | None = watch()
        except OSError:
            self._fd = None
        self._listen()

    def close(self) -> None:
        """Stop calling."""
        if self._timer is not None:
            self._timer.cancel()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _listen(self) -> None:
        if self._fd is not None:
            self._loop.add_reader(self._fd, self._on_readable)
        elif self._poll_s is not None:
            self._later(self._poll_s, self._poll)

    def _poll(self) -> None:
        self._listen()
        self._on_change()

    def _on_readable(self) -> None:
        assert self._fd is not None
        self._loop.remove_reader(self._fd)
        drain(self._fd)
        self._later(self._least_s, self._drain_again)
        self._on_change()

    def _drain_again(self) -> None:
        assert self._fd is not None
        if drain(self._fd):
            self._on_readable()
            return
        self._later(_LAST_S, self._on_change)
        self._listen()
        self._on_change()

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, call)
