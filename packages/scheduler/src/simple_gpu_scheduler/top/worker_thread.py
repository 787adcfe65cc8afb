"""A thread for slow work, one task after another, so that the screen never waits."""

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
    """What a worker thread uses."""

    def close(self) -> None:
        """Close it."""
        ...


Resource = TypeVar("Resource", bound=Closable)
Result = TypeVar("Result")
_Task = Callable[[], None]


class WorkerThread(Generic[Resource]):
    """Uses a resource that only one thread may use.

    The thread is a daemon: a driver that hangs keeps nobody from quitting.
    """

    def __init__(self, open_resource: Callable[[], Resource]) -> None:
        """`open_resource` is called in the thread, for the first task."""
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
                result = work(self._opened())
            except Exception as error:
                _answer(loop, answer, functools.partial(answer.set_exception, error))
            else:
                _answer(loop, answer, functools.partial(answer.set_result, result))

        self._tasks.put(task)
        return await answer

    def close(self) -> None:
        """End after the tasks so far; wait for that one second at most."""
        self._tasks.put(None)
        self._thread.join(_CLOSE_LIMIT_S)

    def _opened(self) -> Resource:
        if self._resource is None:
            self._resource = self._open_resource()
        return self._resource

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
        if self._resource is not None:
            self._resource.close()


def _answer(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Result], say: Callable[[], None]
) -> None:
    def set_answer() -> None:
        if not answer.done():  # the caller may be gone
            say()

    with suppress(RuntimeError):  # the loop is closed: we have quit
        loop.call_soon_threadsafe(set_answer)
