"""When to look again: at once after news, but never so often that looking is all we do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from simple_gpu_scheduler.system.fds import drain

#: After each look this many times what it took is for others.
_REST = 4.0

#: After the last news, once more: the disk may have been slow.
_LAST_S = 1.0


class Paced:
    """Does one thing again and again, once at a time, with a rest after each."""

    def __init__(self, work: Callable[[], Awaitable[None]], least_s: float) -> None:
        """`least_s` is the shortest rest."""
        self._work = work
        self._least_s = least_s
        self._wanted = asyncio.Event()
        self._hurry = asyncio.Event()

    def want(self, *, soon: bool = False) -> None:
        """Do it once more; `soon`: a person waits for it, so that there is no rest before."""
        self._wanted.set()
        if soon:
            self._hurry.set()

    async def run(self) -> None:
        """Do it as long as we are let."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._hurry.clear()
            begun_s = loop.time()
            await self._work()
            rest_s = max(self._least_s, _REST * (loop.time() - begun_s))
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), rest_s)


class Watch:
    """Calls back when there is news.

    What was written is to be seen only a little after that is told: so it calls again when all
    is quiet, and once more.
    """

    def __init__(
        self,
        watch: Callable[[], int],
        heard: Callable[[], None],
        least_s: float,
        poll_s: float | None = None,
    ) -> None:
        """Begin, in the running event loop.

        Args:
            watch: gives a descriptor that is readable when there is news.
            least_s: the shortest time from call to call.
            poll_s: the time from call to call where the kernel has no more inotify instances for
                this user; None: then it never calls.
        """
        self._loop = asyncio.get_running_loop()
        self._heard = heard
        self._least_s = least_s
        self._poll_s = poll_s
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._fd: int | None = watch()
        except OSError:
            self._fd = None
        self._listen()

    def close(self) -> None:
        """Call no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _listen(self) -> None:
        if self._fd is not None:
            self._loop.add_reader(self._fd, self._news)
        elif self._poll_s is not None:
            self._later(self._poll_s, self._poll)

    def _poll(self) -> None:
        self._listen()
        self._heard()

    def _news(self) -> None:
        assert self._fd is not None
        self._loop.remove_reader(self._fd)
        drain(self._fd)
        self._later(self._least_s, self._look_again)
        self._heard()

    def _look_again(self) -> None:
        assert self._fd is not None
        if drain(self._fd):
            self._news()
            return
        self._later(_LAST_S, self._heard)
        self._listen()
        self._heard()

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, call)
