"""Python calls on GPUs, with the interface of `concurrent.futures`.

    from simple_gpu_scheduler.executor import GPUExecutor

    with GPUExecutor(gpus=2) as pool:
        losses = list(pool.map(train, (0.1, 0.01, 0.001)))  # two calls at a time, a GPU each

Each call runs in a worker process that sees one GPU. A GPU is leased only while there is work for
it, so that others can use the GPUs of an idle pool.
"""

from __future__ import annotations

import importlib
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from simple_gpu_scheduler.client import Taken, free_now, take
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.executors.pool import Call, Pool
from simple_gpu_scheduler.executors.shared_gpu import SharedGpu
from simple_gpu_scheduler.executors.worker import WorkerDiedError
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.gpus.selection import select_gpus
from simple_gpu_scheduler.jobs.job import MAX_JOBS_PER_GPU
from simple_gpu_scheduler.units.sizes import parse_memory_mib

__all__ = ["GPUExecutor", "WorkerDiedError"]

P = ParamSpec("P")
T = TypeVar("T")


class GPUExecutor(Executor):
    """Runs Python calls in worker processes, each on a leased GPU.

    It is a `concurrent.futures.Executor`: use `submit`, `map`, `shutdown` and `with`. Lambdas,
    closures and functions of `__main__` may be submitted. Arguments are copied at once. If a
    worker dies, its call fails with `WorkerDiedError`, and a new worker takes its place.
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
        """Create the pool. It leases no GPU and starts no process before there is work.

        Args:
            gpus: The number of GPUs to use, whichever are free (default: all of `on`; without
                `on`, as many as are free now, at least 1).
            jobs_per_gpu: The number of calls that run at once on each GPU (default 1).
            on: The ids of the GPUs to choose from, such as "0,1", ["0", "1"] or UUIDs (default:
                the GPUs in CUDA_VISIBLE_DEVICES, or all).
            vram: The memory for each call, such as "10G"; others may use the rest (default: whole
                GPUs). `gpus` then counts such parts, and one GPU may have several of them.
            idle_s: The seconds that a worker waits for work. Then it ends, and its GPU is given
                back (default 10).
            tell: Called with each message for the user, such as whom the pool waits for. The calls
                come from other threads.

        Raises:
            UsageError: There are no such GPUs, or an argument is out of its range.
            SgsError: GPUs can't be leased on this machine, or the extra `executor` is missing.
        """
        self._pickle = _cloudpickle()
        _check(gpus, jobs_per_gpu, on, idle_s)
        requests = _requests(gpus, on, _memory(vram, jobs_per_gpu), tell)
        shared_gpus = [SharedGpu(request) for request in requests]
        is_shared = jobs_per_gpu > 1 or bool(vram)
        self._pool = Pool(shared_gpus * jobs_per_gpu, idle_s, shared=is_shared)
        weakref.finalize(self, self._pool.close).atexit = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)` in a worker, as soon as a GPU is free.

        Returns:
            The future result. It fails if the function or an argument can't be pickled.

        Raises:
            RuntimeError: The pool is shut down, or belongs to a parent process.
        """
        future: Future[T] = Future()
        self._pool.check_open()
        try:
            request = self._pickle((fn, args, kwargs))
        except Exception as error:
            future.set_running_or_notify_cancel()
            future.set_exception(error)
            return future
        self._pool.add(Call(future, getattr(fn, "__qualname__", repr(fn)), request))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls. Submitted calls still run, unless they are cancelled.

        Args:
            wait: True waits until all calls have ended and the GPUs are given back; ^C then kills
                the workers. False returns at once.
            cancel_futures: True cancels the calls that have not started yet.
        """
        self._pool.close(cancel=cancel_futures)
        if wait:
            self._pool.join()

    def kill_workers(self) -> None:
        """Cancel calls that wait, kill running ones with their processes, give the GPUs back."""
        self._pool.kill()
        self._pool.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for all calls; after ^C or `sys.exit`, kill them instead."""
        if kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit)):
            self.kill_workers()
        else:
            self.shutdown()


def _cloudpickle() -> Callable[[Any], bytes]:
    try:
        dumps: Callable[[Any], bytes] = importlib.import_module("cloudpickle").dumps
    except ImportError:
        raise SgsError(
            "GPUExecutor needs cloudpickle, the extra `executor` of simple-gpu-scheduler: "
            "pip install './packages/scheduler[executor]' in its repository"
        ) from None
    return dumps


def _check(
    gpus: int | None, jobs_per_gpu: int, on: str | Sequence[str] | None, idle_s: float
) -> None:
    if gpus is not None and (type(gpus) is not int or gpus < 1):
        raise UsageError(f"gpus={gpus!r}: expected a number, 1 or more")
    if not 1 <= jobs_per_gpu <= MAX_JOBS_PER_GPU:
        raise UsageError(f"jobs_per_gpu={jobs_per_gpu}: expected 1 to {MAX_JOBS_PER_GPU}")
    if not 0 <= idle_s <= threading.TIMEOUT_MAX:
        raise UsageError(f"idle_s={idle_s}: expected seconds, 0 or more")


def _memory(vram: str | None, jobs_per_gpu: int) -> str | None:
    """The memory to lease on each GPU, for all calls that run on it at once."""
    return None if vram is None else f"{parse_memory_mib(vram, 'vram') * jobs_per_gpu}M"


def _requests(
    gpus: int | None,
    on: str | Sequence[str] | None,
    vram: str | None,
    tell: Callable[[str], None],
) -> list[Callable[[], Taken]]:
    """For each GPU of the pool, a function that leases it."""

    def any_gpu() -> Taken:
        return take(vram=vram, tell=tell)

    def named_gpu(name: str) -> Callable[[], Taken]:
        return lambda: take(on=[name], vram=vram, tell=tell)

    ids = [on] if isinstance(on, str) else on
    if ids is None and LEASE_VARIABLE in os.environ:  # within a lease: its GPUs, driver or not
        ids = [os.environ.get("CUDA_VISIBLE_DEVICES", "")]
    if ids is not None:
        names = list(select_gpus(list(ids), tell, option="on=").keys)
        if len(names) < (gpus or 1):
            where = "in the lease that we are in" if on is None else "to choose from"
            raise UsageError(f"gpus={gpus}: there are {len(names)} {where}")
        if gpus is not None and gpus < len(names):
            return [lambda: take(on=names, gpus=1, vram=vram, tell=tell)] * gpus
        return [named_gpu(name) for name in names]
    total = len(select_gpus(None, tell, option="on=").keys)
    if gpus is not None and gpus > total and vram is None:
        raise UsageError(f"gpus={gpus}: there are {total}")
    return [any_gpu] * (gpus or max(1, free_now(vram)))
