"""The calls that wait for GPUs, and the lanes that run them: threads of the program.

`executor` is the public face. A lane has a worker process and a share of a leased GPU.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from simple_gpu_scheduler.client import Taken
from simple_gpu_scheduler.executors.worker import PythonWorker, WorkerDiedError
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE, SHARED_GPU_ENVIRON
from simple_gpu_scheduler.leases.ledger import overlaps
from simple_gpu_scheduler.leases.store import FileLeaseStore

#: A GPU for which others wait is passed on between two calls, but not sooner: workers cost time.
_TURN_S = 60.0

#: A worker is asked to end in order before it is killed.
_GRACE_S = 10.0


class Call(NamedTuple):
    """A call that was submitted."""

    future: Future[Any]
    name: str
    request: bytes


class SharedGpu:
    """One GPU, leased while at least one of the pool's lanes uses it."""

    def __init__(self, request: Callable[[], Taken]) -> None:
        self._request = request
        self._changed = threading.Condition()
        self._users = 0
        self._taken: Taken | None = None
        self._until_s = 0.0  # our turn
        self._gives_way = False
        self._nested = LEASE_VARIABLE in os.environ

    def enter(self) -> Taken:
        """Use it; waits until it can be leased."""
        with self._changed:
            self._changed.wait_for(lambda: not self._gives_way)
            if self._taken is None:
                self._taken = self._request()
                self._until_s = time.monotonic() + _TURN_S
            self._users += 1
            return self._taken

    def leave(self) -> None:
        """Use it no more."""
        with self._changed:
            self._users -= 1
            if self._users == 0 and self._taken is not None:
                self._taken.release()
                self._taken = None
                self._gives_way = False
                self._changed.notify_all()

    def gives_way(self) -> bool:
        """True once our turn is over and others wait for the GPU: then all lanes are to leave it.

        A lease within another one is no use to others.
        """
        with self._changed:
            over = time.monotonic() >= self._until_s and not self._nested
            if over and self._taken is not None and not self._gives_way:
                self._gives_way = _wanted(self._taken)
            return self._gives_way


def _wanted(taken: Taken) -> bool:
    """True if another program waits for a GPU that we have."""
    folder = FileLeaseStore()
    if not folder.somebody_waits():
        return False
    ours = [one for one in folder.leases() if one.token == taken.lease.id]
    others = [one for one in folder.tickets() if one.pid != os.getpid()]
    return any(overlaps(lease, one.request) for lease in ours for one in others)


class Pool:
    """The calls that wait, and the lanes that run them: a thread, a worker and a GPU each.

    A lane sleeps (no thread, no worker, no lease) until more calls wait than awake lanes are idle.
    It takes a call only once it has its GPU, so that no call waits for one GPU while another is
    free. Its thread is a daemon: one that waits for a GPU that others have can't be interrupted.
    """

    def __init__(self, cards: Sequence[SharedGpu], idle_s: float, *, shared: bool) -> None:
        self._cards = cards
        self._idle_s = idle_s
        self._modest = SHARED_GPU_ENVIRON if shared else {}
        self._changed = threading.Condition()
        self._waiting: deque[Call] = deque()
        self._asleep = set(range(len(cards)))
        self._idle = 0  # lanes that have a GPU and no call
        self._leasing = 0  # lanes that wait for a GPU
        self._workers: set[PythonWorker] = set()
        self._closed = self._killed = False
        self.owner_pid = os.getpid()
        _pools.add(self)

    def check_open(self) -> None:
        """See that calls may be added.

        Raises:
            RuntimeError: they may not.
        """
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if os.getpid() != self.owner_pid:
            raise RuntimeError("this GPUExecutor belongs to the parent process; make another one")

    def add(self, task: Call) -> None:
        """Run it, in its turn."""
        with self._changed:
            self.check_open()
            self._waiting.append(task)
            self._changed.notify()
            if self._short_of_lanes() and self._asleep:
                lane = min(self._asleep)
                name = f"sgs-executor-{lane}"
                threading.Thread(target=self._live, args=(lane,), name=name, daemon=True).start()
                self._asleep.remove(lane)

    def close(self, *, cancel: bool = False) -> None:
        """Take no more calls, and forget those that wait if `cancel`."""
        with self._changed:
            self._closed = True
            tasks = list(self._waiting) if cancel else []
            if cancel:
                self._waiting.clear()
            self._changed.notify_all()
        for task in tasks:  # their callbacks may take our lock
            task.future.cancel()
            task.future.set_running_or_notify_cancel()

    def kill(self) -> None:
        """Close at once, whatever runs."""
        self.close(cancel=True)
        with self._changed:
            self._killed = True
            for worker in self._workers:
                worker.kill()

    def join(self) -> None:
        """Wait until all calls have ended and their GPUs are given back; ^C kills them."""
        try:
            with self._changed:
                self._changed.wait_for(self._is_over)
        except KeyboardInterrupt:
            self.kill()
            with self._changed:
                self._changed.wait_for(self._is_over)
            raise

    def _is_over(self) -> bool:
        """True if at most a wait for GPUs is left, with which nothing would be done."""
        awake = len(self._cards) - len(self._asleep)
        return awake == self._leasing and all(task.future.cancelled() for task in self._waiting)

    def _short_of_lanes(self) -> bool:
        return len(self._waiting) > self._idle

    def _live(self, lane: int) -> None:
        """The life of a lane's thread: until there is no work for it."""
        while True:
            others_serve = False
            try:
                self._serve(self._cards[lane])
            except Exception as error:
                others_serve = not self._fail_if_last(error)
            with self._changed:
                if others_serve or not self._short_of_lanes():
                    self._asleep.add(lane)
                    self._changed.notify_all()
                    return

    def _serve(self, card: SharedGpu) -> None:
        """Lease the GPU and run calls on it while there are any."""
        with self._leasing_counted():
            taken = card.enter()
        worker: PythonWorker | None = None
        try:
            while not card.gives_way():
                task = self._next()
                if task is None:
                    return
                worker = self._run(task, taken, worker)
                del task  # what it holds may be large
        finally:
            if worker is not None:
                self._end(worker)
            card.leave()

    @contextmanager
    def _leasing_counted(self) -> Iterator[None]:
        with self._changed:
            self._leasing += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._leasing -= 1

    def _next(self) -> Call | None:
        """The next call; None if there was none for a while, or there will be no more."""
        with self._changed:
            self._idle += 1
            try:
                while self._changed.wait_for(lambda: self._waiting or self._closed, self._idle_s):
                    if not self._waiting:
                        return None
                    task = self._waiting.popleft()
                    if task.future.set_running_or_notify_cancel():
                        return task
                return None
            finally:
                self._idle -= 1

    def _run(self, task: Call, taken: Taken, worker: PythonWorker | None) -> PythonWorker | None:
        """Run one call to its end; returns the worker if it still lives."""
        try:
            worker = worker or self._new_worker(taken)
            reply = worker.call(task.request)
        except Exception as error:
            if worker is not None:
                self._end(worker)
            text = f"{task.name} on GPU {','.join(taken.gpus)}: {error}"
            task.future.set_exception(WorkerDiedError(text))
            return None
        try:
            outcome = pickle.loads(reply.payload)
        except BaseException as error:
            task.future.set_exception(_with_cause(error, reply.failure))
        else:
            if reply.failure:
                task.future.set_exception(_with_cause(outcome, reply.failure))
            else:
                task.future.set_result(outcome)
        return worker

    def _new_worker(self, taken: Taken) -> PythonWorker:
        environ = {**self._modest, **os.environ, **taken.environ}
        worker = PythonWorker(environ, inherit=[taken.lease.fd])
        with self._changed:
            self._workers.add(worker)
            if self._killed:
                worker.kill()
        return worker

    def _end(self, worker: PythonWorker) -> None:
        worker.close(_GRACE_S)
        with self._changed:
            self._workers.discard(worker)

    def _fail_if_last(self, error: Exception) -> bool:
        """Fail all calls that wait if no other lane is awake, which could run them."""
        with self._changed:
            if len(self._asleep) < len(self._cards) - 1:
                return False
            tasks = list(self._waiting)
            self._waiting.clear()
        for task in tasks:
            if task.future.set_running_or_notify_cancel():
                task.future.set_exception(error)
        return True


class _RemoteTracebackError(Exception):
    """Shows where a call failed in its worker."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _with_cause(error: BaseException, text: str) -> BaseException:
    if text:
        error.__cause__ = _RemoteTracebackError(text)
    return error


def _kill_or_join(pools: Iterable[Pool]) -> None:
    """At the end of the program wait for what was submitted, unless ^C ended it."""
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for pool in list(pools):
        if pool.owner_pid == os.getpid():
            if interrupted:
                pool.kill()
            pool.close()
            pool.join()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()

# As concurrent.futures does it: before the threads that we need for it are ended.
threading._register_atexit(_kill_or_join, _pools)  # type: ignore[attr-defined]
