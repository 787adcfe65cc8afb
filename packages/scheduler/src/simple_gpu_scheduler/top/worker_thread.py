"""A thread for slow work, one task after another, so that the screen never waits for it."""

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
    """A resource that a worker thread owns."""

    def close(self) -> None:
        """Release the resource."""
        ...


Resource = TypeVar("Resource", bound=Closable)
Result = TypeVar("Result")
_Task = Callable[[], None]


class WorkerThread(Generic[Resource]):
    """A thread that owns a resource, and works with it.

    It is a daemon thread, so that a driver that hangs does not prevent quitting.
    """

    def __init__(self, open_resource: Callable[[], Resource]) -> None:
        """Start the thread; it calls `open_resource` at the first task."""
        self._open_resource = open_resource
        self._resource: Resource | None = None
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def ask(self, work: Callable[[Resource], Result]) -> Result:
        """Run `work` in the thread; return what it returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()

        def task() -> None:
            try:
                result = work(self._open_once())
            except Exception as error:
                _answer(loop, answer, functools.partial(answer.set_exception, error))
            else:
                _answer(loop, answer, functools.partial(answer.set_result, result))

        self._tasks.put(task)
        return await answer

    def close(self) -> None:
        """End the thread after its tasks; wait for that at most one second."""
        self._tasks.put(None)
        self._thread.join(_CLOSE_LIMIT_S)

    def _open_once(self) -> Resource:
        if self._resource is None:
            self._resource = self._open_resource()
        return self._resource

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
        if self._resource is not None:
            self._resource.close()


def _answer(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Result], set_result: Callable[[], None]
) -> None:
    """Call `set_result` in the event loop's thread."""

    def set_if_awaited() -> None:
        if not answer.done():  # the caller may have been cancelled
            set_result()

    with suppress(RuntimeError):  # the loop is closed: the app has quit
        loop.call_soon_threadsafe(set_if_awaited)
