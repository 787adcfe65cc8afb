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
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from simple_gpu_scheduler.client import Taken, free_now, take
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.executors.pool import Call, Pool, SharedGpu
from simple_gpu_scheduler.executors.worker import WorkerDiedError
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.gpus.selection import select_gpus
from simple_gpu_scheduler.jobs.job import MAX_JOBS_PER_GPU
from simple_gpu_scheduler.units.sizes import parse_memory_mib

__all__ = ["GPUExecutor", "WorkerDiedError"]

P = ParamSpec("P")
T = TypeVar("T")


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
            on: of these GPUs, as "0,1", ["0", "1"] or UUIDs; without `gpus`, all of them.
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
        cards = [SharedGpu(request) for request in kinds]
        self._pool = Pool(cards * jobs_per_gpu, idle_s, shared=jobs_per_gpu > 1 or bool(vram))
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
        self._pool.add(Call(future, getattr(fn, "__qualname__", repr(fn)), request))
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


def _cloudpickle() -> Callable[[Any], bytes]:
    try:
        dumps: Callable[[Any], bytes] = importlib.import_module("cloudpickle").dumps
    except ImportError:
        raise SgsError(
            "GPUExecutor needs cloudpickle: install the extra executor of simple-gpu-scheduler"
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
    """What to lease of each GPU for the calls that run on it at once."""
    return None if vram is None else f"{parse_memory_mib(vram, 'vram') * jobs_per_gpu}M"


def _requests(
    gpus: int | None,
    on: str | Sequence[str] | None,
    vram: str | None,
    tell: Callable[[str], None],
) -> list[Callable[[], Taken]]:
    """How to lease each of the GPUs."""

    def any_one() -> Taken:
        return take(vram=vram, tell=tell)

    def this(name: str) -> Callable[[], Taken]:
        return lambda: take(on=[name], vram=vram, tell=tell)

    words = [on] if isinstance(on, str) else on
    if words is None and LEASE_VARIABLE in os.environ:  # then those are ours, driver or not
        words = [os.environ.get("CUDA_VISIBLE_DEVICES", "")]
    if words is not None:
        names = list(select_gpus(list(words), tell, option="on=").keys)
        if len(names) < (gpus or 1):
            where = "in the lease that we are in" if on is None else "to choose from"
            raise UsageError(f"gpus={gpus}: there are {len(names)} {where}")
        if gpus is not None and gpus < len(names):
            return [lambda: take(on=names, gpus=1, vram=vram, tell=tell)] * gpus
        return [this(name) for name in names]
    known = len(select_gpus(None, tell, option="on=").keys)
    if gpus is not None and gpus > known and vram is None:
        raise UsageError(f"gpus={gpus}: there are {known}")
    return [any_one] * (gpus or max(1, free_now(vram)))
