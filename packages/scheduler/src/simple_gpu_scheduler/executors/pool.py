"""The calls that wait for GPUs, and the lanes that run them.

A lane is a thread of the program with a worker process and a share of a leased GPU. `executor` is
the public face.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from simple_gpu_scheduler.client import Taken
from simple_gpu_scheduler.executors.shared_gpu import SharedGpu
from simple_gpu_scheduler.executors.worker import PythonWorker, WorkerDiedError
from simple_gpu_scheduler.gpus.environ import SHARED_GPU_ENVIRON

#: A worker is asked to end before it is killed.
_GRACE_S = 10.0


class Call(NamedTuple):
    """A call that was submitted."""

    future: Future[Any]
    name: str  #: of the function, for messages
    request: bytes  #: pickled: function, args, kwargs


class Pool:
    """The calls that wait, and the lanes that run them: a thread, a worker and a GPU each.

    A lane sleeps (no thread, no worker, no lease) until more calls wait than awake lanes are idle.
    It takes a call only once it has its GPU, so that no call waits for one GPU while another is
    free. Its thread is a daemon, because a thread that waits for a GPU can't be interrupted.
    """

    def __init__(self, gpus: Sequence[SharedGpu], idle_s: float, *, shared: bool) -> None:
        """Create the lanes, all asleep.

        Args:
            gpus: The GPU of each lane; lanes may share one.
            idle_s: The seconds that a lane without work waits before it goes to sleep.
            shared: True if others may use the rest of a GPU.
        """
        self._gpus = gpus
        self._idle_s = idle_s
        self._modest = SHARED_GPU_ENVIRON if shared else {}
        self._changed = threading.Condition()
        self._waiting: deque[Call] = deque()
        self._asleep = set(range(len(gpus)))
        self._idle = 0  # the number of lanes that have a GPU and no call
        self._leasing = 0  # the number of lanes that wait for a GPU
        self._workers: set[PythonWorker] = set()
        self._closed = self._killed = False
        self.owner_pid = os.getpid()
        _pools.add(self)

    def check_open(self) -> None:
        """Refuse a pool that takes no calls.

        Raises:
            RuntimeError: The pool is shut down, or belongs to a parent process.
        """
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if os.getpid() != self.owner_pid:
            raise RuntimeError("this GPUExecutor belongs to the parent process; make another one")

    def add(self, call: Call) -> None:
        """Append the call to those that wait, and wake a lane if too few are awake."""
        with self._changed:
            self.check_open()
            self._waiting.append(call)
            self._changed.notify()
            if self._short_of_lanes() and self._asleep:
                lane = min(self._asleep)
                name = f"sgs-executor-{lane}"
                threading.Thread(
                    target=self._run_lane, args=(lane,), name=name, daemon=True
                ).start()
                self._asleep.remove(lane)

    def close(self, *, cancel: bool = False) -> None:
        """Accept no more calls; with `cancel`, cancel the calls that wait."""
        with self._changed:
            self._closed = True
            calls = list(self._waiting) if cancel else []
            if cancel:
                self._waiting.clear()
            self._changed.notify_all()
        for call in calls:  # without the lock: their callbacks may take it
            call.future.cancel()
            call.future.set_running_or_notify_cancel()

    def kill(self) -> None:
        """Cancel the calls that wait, and kill the workers of those that run."""
        self.close(cancel=True)
        with self._changed:
            self._killed = True
            for worker in self._workers:
                worker.kill()

    def join(self) -> None:
        """Wait until all calls have ended and their GPUs are given back; ^C kills the workers."""
        try:
            with self._changed:
                self._changed.wait_for(self._is_over)
        except KeyboardInterrupt:
            self.kill()
            with self._changed:
                self._changed.wait_for(self._is_over)
            raise

    def _is_over(self) -> bool:
        """True if no lane has a GPU and no call is left to run; lanes may still wait for GPUs."""
        awake = len(self._gpus) - len(self._asleep)
        return awake == self._leasing and all(call.future.cancelled() for call in self._waiting)

    def _short_of_lanes(self) -> bool:
        return len(self._waiting) > self._idle

    def _run_lane(self, lane: int) -> None:
        """What the thread of a lane runs, until there is no work for it."""
        while True:
            others_are_awake = False
            try:
                self._serve(self._gpus[lane])
            except Exception as error:
                others_are_awake = not self._fail_if_last(error)
            with self._changed:
                if others_are_awake or not self._short_of_lanes():
                    self._asleep.add(lane)
                    self._changed.notify_all()
                    return

    def _serve(self, gpu: SharedGpu) -> None:
        """Lease the GPU and run calls on it while there are any."""
        with self._counted_as_leasing():
            taken = gpu.enter()
        worker: PythonWorker | None = None
        try:
            while not gpu.gives_way():
                call = self._next()
                if call is None:
                    return
                worker = self._run(call, taken, worker)
                del call  # its arguments may be large
        finally:
            if worker is not None:
                self._end(worker)
            gpu.leave()

    @contextmanager
    def _counted_as_leasing(self) -> Iterator[None]:
        with self._changed:
            self._leasing += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._leasing -= 1

    def _next(self) -> Call | None:
        """The next call; None if none came for `idle_s`, or the pool is closed."""
        with self._changed:
            self._idle += 1
            try:
                while self._changed.wait_for(lambda: self._waiting or self._closed, self._idle_s):
                    if not self._waiting:
                        return None
                    call = self._waiting.popleft()
                    if call.future.set_running_or_notify_cancel():
                        return call
                return None
            finally:
                self._idle -= 1

    def _run(self, call: Call, taken: Taken, worker: PythonWorker | None) -> PythonWorker | None:
        """Run one call to its end; return the worker if it still lives."""
        try:
            worker = worker or self._new_worker(taken)
            reply = worker.call(call.request)
        except Exception as error:
            if worker is not None:
                self._end(worker)
            text = f"{call.name} on GPU {','.join(taken.gpus)}: {error}"
            call.future.set_exception(WorkerDiedError(text))
            return None
        try:
            outcome = pickle.loads(reply.payload)
        except BaseException as error:
            call.future.set_exception(_with_cause(error, reply.failure))
        else:
            if reply.failure:
                call.future.set_exception(_with_cause(outcome, reply.failure))
            else:
                call.future.set_result(outcome)
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
        """Fail all calls that wait, if no other lane is awake to run them; True if so."""
        with self._changed:
            if len(self._asleep) < len(self._gpus) - 1:
                return False
            calls = list(self._waiting)
            self._waiting.clear()
        for call in calls:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)
        return True


class _RemoteTracebackError(Exception):
    """Shows the traceback of a call in its worker."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _with_cause(error: BaseException, text: str) -> BaseException:
    if text:
        error.__cause__ = _RemoteTracebackError(text)
    return error


def _kill_or_join(pools: Iterable[Pool]) -> None:
    """When the program ends, wait for its calls; kill them if ^C ended it."""
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for pool in list(pools):
        if pool.owner_pid == os.getpid():
            if interrupted:
                pool.kill()
            pool.close()
            pool.join()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()

# As concurrent.futures does: this runs before Python ends the threads, which are still needed.
threading._register_atexit(_kill_or_join, _pools)  # type: ignore[attr-defined]
