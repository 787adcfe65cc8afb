"""When to read again: at once after a change, but with a rest after each reading."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from simple_gpu_scheduler.system.fds import drain

#: The rest is this many times as long as the work took.
_REST_FACTOR = 4.0

#: The last call comes this long after a change: the disk may have been slow.
_LAST_CALL_S = 1.0


class Refresher:
    """Repeats some work when it is requested, with a rest after each time."""

    def __init__(self, work: Callable[[], Awaitable[None]], min_rest_s: float) -> None:
        """`min_rest_s` is the shortest rest, in seconds."""
        self._work = work
        self._min_rest_s = min_rest_s
        self._requested = asyncio.Event()
        self._requested_soon = asyncio.Event()

    def request(self, *, soon: bool = False) -> None:
        """Do the work once more.

        Args:
            soon: end the rest, because a person waits for the result.
        """
        self._requested.set()
        if soon:
            self._requested_soon.set()

    async def run(self) -> None:
        """Do the work whenever it is requested, until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._requested.wait()
            self._requested.clear()
            self._requested_soon.clear()
            started_s = loop.time()
            await self._work()
            rest_s = max(self._min_rest_s, _REST_FACTOR * (loop.time() - started_s))
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._requested_soon.wait(), rest_s)


class Watch:
    """Calls back when the kernel reports a change.

    A change can sometimes be read only a little after the kernel has reported it. So two more
    calls follow the last change.
    """

    def __init__(
        self,
        watch: Callable[[], int],
        on_change: Callable[[], None],
        min_between_s: float,
        poll_s: float | None = None,
    ) -> None:
        """Start, in the running event loop.

        Args:
            watch: returns a descriptor that is readable after a change.
            on_change: the function to call.
            min_between_s: the shortest time between two calls, in seconds.
            poll_s: the time between calls if this user has no inotify instances left, in seconds;
                None: do not call then.
        """
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._min_between_s = min_between_s
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
            self._call_later(self._poll_s, self._poll)

    def _poll(self) -> None:
        self._listen()
        self._on_change()

    def _on_readable(self) -> None:
        assert self._fd is not None
        self._loop.remove_reader(self._fd)
        drain(self._fd)
        self._call_later(self._min_between_s, self._drain_again)
        self._on_change()

    def _drain_again(self) -> None:
        assert self._fd is not None
        if drain(self._fd):
            self._on_readable()
            return
        self._call_later(_LAST_CALL_S, self._on_change)
        self._listen()
        self._on_change()

    def _call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, call)
