"""Python calls on GPUs, by the standard library's interface, public.

    from simple_gpu_scheduler.executor import GPUExecutor

    with GPUExecutor(gpus=2) as pool:
        losses = list(pool.map(train, (0.1, 0.01, 0.001)))  # two at a time, each on its own GPU

Calls run in worker processes that see one GPU each. GPUs are leased only while there is work, so
that others get what an idle pool doesn't use.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec, TypeVar

from simple_gpu_scheduler.adapters.chosen_gpus import chosen_gpus
from simple_gpu_scheduler.adapters.gpu_environ import LEASE_VARIABLE, MODEST
from simple_gpu_scheduler.adapters.leases import LeaseDir
from simple_gpu_scheduler.adapters.python_worker import PythonWorker, WorkerDiedError
from simple_gpu_scheduler.client import GpusBusyError, Taken, take
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.memory_sizes import parse_memory_mib
from simple_gpu_scheduler.model import MAX_JOBS_PER_GPU

__all__ = ["GPUExecutor", "WorkerDiedError"]

P = ParamSpec("P")
T = TypeVar("T")

#: A GPU for which others wait is passed on between two calls, but not sooner: workers cost time.
_TURN_S = 60.0

#: A worker is asked to end in order before it is killed.
_GRACE_S = 10.0


class GPUExecutor(Executor):
    """Runs Python calls in processes, each on a GPU that nobody else has meanwhile.

    All of `concurrent.futures.Executor`: `submit`, `map`, `shutdown`, `with`. Lambdas, closures
    and functions of `__main__` may be submitted; arguments are copied at once. A worker that dies
    fails its own call, by `WorkerDiedError`, and is replaced.
    """

    def __init__(
        self,
        gpus: int | None = None,
        jobs_per_gpu: int = 1,
        on: str | Sequence[str] | None = None,
        vram: str | None = None,
        *,
        idle_s: float = 10.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; no GPU is leased and no process started before there is work.

        Args:
            gpus: use so many, whichever are free; None: as many as are free now, at least one.
            jobs_per_gpu: run so many calls at once on each of them.
            on: these very GPUs instead, as "0,1", ["0", "1"] or UUIDs.
            vram: so much memory for each call, as "10G": others may have the rest. What counts
                as one of the `gpus` is then such a part of a card, and a card may have several.
                None: whole GPUs.
            idle_s: a worker without work ends after so long, and its GPU is given back.
            tell: is given what a user should know, such as whom we wait for; from other threads.

        Raises:
            UsageError: there are no such GPUs, or what is asked for can't be.
            SgsError: leases can't be had at all, or the extra `executor` is not installed.
        """
        self._pickle = _cloudpickle()
        _check(gpus, jobs_per_gpu, on, idle_s)
        kinds = _requests(gpus, on, _memory(vram, jobs_per_gpu), tell)
        cards = [_SharedGpu(request) for request in kinds]
        self._pool = _Pool(cards * jobs_per_gpu, idle_s, shared=jobs_per_gpu > 1 or bool(vram))
        weakref.finalize(self, self._pool.close).atexit = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)` in a worker, as soon as one of the GPUs is free.

        What can't be pickled fails the future, not the submission.

        Raises:
            RuntimeError: the pool is shut down, or another process's.
        """
        future: Future[T] = Future()
        self._pool.check_open()
        try:
            request = self._pickle((fn, args, kwargs))
        except Exception as error:
            future.set_running_or_notify_cancel()
            future.set_exception(error)
            return future
        self._pool.add(_Task(future, getattr(fn, "__qualname__", repr(fn)), request))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; those submitted still run, unless cancelled.

        Args:
            wait: until all have ended and the GPUs are given back; ^C then kills the workers.
            cancel_futures: those that don't run yet.
        """
        self._pool.close(cancel=cancel_futures)
        if wait:
            self._pool.join()

    def kill_workers(self) -> None:
        """Cancel what waits, kill what runs with all that it started, give the GPUs back."""
        self._pool.kill()
        self._pool.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for all calls; after ^C or sys.exit kill them instead."""
        if kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit)):
            self.kill_workers()
        else:
            self.shutdown()


class _Task(NamedTuple):
    """A call that was submitted."""

    future: Future[Any]
    name: str
    request: bytes


class _SharedGpu:
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
    folder = LeaseDir()
    if not folder.somebody_waits():
        return False
    ours = {gpu for one in folder.leases() if one.id == taken.lease.id for gpu in one.gpus}
    others = (one for one in folder.tickets() if one.pid != os.getpid())
    return any(not ours.isdisjoint(one.want.gpus) for one in others)


class _Pool:
    """The calls that wait, and the lanes that run them: a thread, a worker and a GPU each.

    A lane sleeps (no thread, no worker, no lease) until more calls wait than awake lanes are idle.
    It takes a call only once it has its GPU, so that no call waits for one GPU while another is
    free. Its thread is a daemon: one that waits for a GPU that others have can't be interrupted.
    """

    def __init__(self, cards: Sequence[_SharedGpu], idle_s: float, *, shared: bool) -> None:
        self._cards = cards
        self._idle_s = idle_s
        self._modest = MODEST if shared else {}
        self._changed = threading.Condition()
        self._waiting: deque[_Task] = deque()
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

    def add(self, task: _Task) -> None:
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

    def _serve(self, card: _SharedGpu) -> None:
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

    def _next(self) -> _Task | None:
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

    def _run(self, task: _Task, taken: Taken, worker: PythonWorker | None) -> PythonWorker | None:
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


def _cloudpickle() -> Callable[[Any], bytes]:
    try:
        dumps: Callable[[Any], bytes] = importlib.import_module("cloudpickle").dumps
    except ImportError:
        raise SgsError(
            "GPUExecutor needs cloudpickle; pip install 'simple-gpu-scheduler[executor]' brings it"
        ) from None
    return dumps


def _check(
    gpus: int | None, jobs_per_gpu: int, on: str | Sequence[str] | None, idle_s: float
) -> None:
    if gpus is not None and gpus < 1:
        raise UsageError(f"gpus={gpus}: expected 1 or more")
    if gpus is not None and on is not None:
        raise UsageError(f"gpus={gpus} and on={on!r}: expected one of them")
    if not 1 <= jobs_per_gpu <= MAX_JOBS_PER_GPU:
        raise UsageError(f"jobs_per_gpu={jobs_per_gpu}: expected 1 to {MAX_JOBS_PER_GPU}")
    if not 0 <= idle_s <= threading.TIMEOUT_MAX:
        raise UsageError(f"idle_s={idle_s}: expected seconds, 0 or more")


def _memory(vram: str | None, jobs_per_gpu: int) -> str | None:
    """What to lease of each GPU for the calls that run on it at once."""
    return None if vram is None else f"{parse_memory_mib(vram, 'vram') * jobs_per_gpu}M"


def _requests(
    gpus: int | None,
    on: str | Sequence[str] | None,
    vram: str | None,
    tell: Callable[[str], None],
) -> list[Callable[[], Taken]]:
    """How to lease each of the GPUs."""

    def any_one(timeout_s: float | None = None) -> Taken:
        return take(vram=vram, timeout_s=timeout_s, tell=tell)

    def this(name: str) -> Callable[[], Taken]:
        return lambda: take(on=[name], vram=vram, tell=tell)

    words = [on] if isinstance(on, str) else on
    if words is None and LEASE_VARIABLE in os.environ:  # then those are ours, driver or not
        words = [os.environ.get("CUDA_VISIBLE_DEVICES", "")]
    if words is not None:
        names = chosen_gpus(list(words), tell, option="on=").keys
        if len(names) < (gpus or 1):
            raise UsageError(f"gpus={gpus}: there are {len(names)} in the lease that we are in")
        return [this(name) for name in names][: gpus or None]
    known = len(chosen_gpus(None, tell, option="on=").keys)
    if gpus is not None and gpus > known and vram is None:
        raise UsageError(f"gpus={gpus}: there are {known}")
    return [any_one] * (gpus or _free_now(any_one))


def _free_now(take_one: Callable[[float | None], Taken]) -> int:
    """How many could be leased at this moment; 1 if none."""
    found: list[Taken] = []
    try:
        while True:
            found.append(take_one(0.0))
    except GpusBusyError:
        return max(1, len(found))
    finally:
        for one in found:
            one.release()


def _kill_or_join(pools: Iterable[_Pool]) -> None:
    """At the end of the program wait for what was submitted, unless ^C ended it."""
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for pool in list(pools):
        if pool.owner_pid == os.getpid():
            if interrupted:
                pool.kill()
            pool.close()
            pool.join()


_pools: weakref.WeakSet[_Pool] = weakref.WeakSet()

# As concurrent.futures does it: before the threads that we need for it are ended.
threading._register_atexit(_kill_or_join, _pools)  # type: ignore[attr-defined]
