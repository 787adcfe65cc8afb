"""A thread that does what takes its time, one thing after another, while the screen lives on."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

_CLOSE_LIMIT_S = 1.0


class Closable(Protocol):
    """What a desk works with."""

    def close(self) -> None:
        """Let it go."""
        ...


Tool = TypeVar("Tool", bound=Closable)
Found = TypeVar("Found")
_Order = Callable[[], None]


class Desk(Generic[Tool]):
    """Works with something that only one thread may touch.

    The thread is a daemon: a driver that hangs keeps nobody from quitting.
    """

    def __init__(self, open_tool: Callable[[], Tool]) -> None:
        """`open_tool` is called in the thread, when the first order comes."""
        self._open_tool = open_tool
        self._tool: Tool | None = None
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def ask(self, work: Callable[[Tool], Found]) -> Found:
        """Have it done; returns, or raises, what it does."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()

        def order() -> None:
            try:
                found = work(self._opened())
            except Exception as error:
                _tell(loop, answer, functools.partial(answer.set_exception, error))
            else:
                _tell(loop, answer, functools.partial(answer.set_result, found))

        self._orders.put(order)
        return await answer

    def close(self) -> None:
        """Do what was asked for, and no more; waits for that a moment at most."""
        self._orders.put(None)
        self._thread.join(_CLOSE_LIMIT_S)

    def _opened(self) -> Tool:
        if self._tool is None:
            self._tool = self._open_tool()
        return self._tool

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
        if self._tool is not None:
            self._tool.close()


def _tell(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Found], say: Callable[[], None]
) -> None:
    def told() -> None:
        if not answer.done():  # nobody may want to know any more
            say()

    with suppress(RuntimeError):  # the loop is closed: we have quit
        loop.call_soon_threadsafe(told)
