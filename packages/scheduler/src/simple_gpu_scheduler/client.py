"""Leases for Python programs, public: GPUs that nobody else gets meanwhile.

    from simple_gpu_scheduler.client import lease

    with lease(gpus=1) as gpus:  # waits until one is free
        ...  # CUDA_VISIBLE_DEVICES names it

The variable must be set before CUDA starts in this process: take the lease before the first use
of the GPU. The lease ends with the block, or with the process, however that ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from simple_gpu_scheduler.allocation.acquire import GpusBusyError, acquire
from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.allocation.opening import open_availability
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE, SHARED_GPU_ENVIRON, gpu_environ
from simple_gpu_scheduler.gpus.selection import select_gpus
from simple_gpu_scheduler.jobs.job import GPU_UNITS, MAX_JOBS_PER_GPU, Job, share_units
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.policy.fit import places
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.units.sizes import parse_memory_mib

__all__ = ["GpusBusyError", "SgsError", "Taken", "UsageError", "lease", "take"]


#: The `lease` blocks of this program, and the innermost one around the code that runs.
_blocks: list[object] = []
_around: ContextVar[object] = ContextVar("around", default=None)
_lock = threading.Lock()


class Taken(NamedTuple):
    """GPUs that are ours until `release`, or until the last process that has `lease` ends.

    A forked child shares the lease, and only its parent can give it back.
    """

    gpus: tuple[str, ...]
    lease: Lease
    release: Callable[[], None]
    shared: bool = False  #: others may have a part of them

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs to see just these GPUs, and to leave others their part."""
        modest = {
            name: value for name, value in SHARED_GPU_ENVIRON.items() if name not in os.environ
        }
        variables = {**gpu_environ(self.gpus), LEASE_VARIABLE: self.lease.id}
        return {**modest, **variables} if self.shared else variables


def take(
    *,
    gpus: int | None = None,
    on: str | Sequence[str] | None = None,
    vram: str | None = None,
    timeout_s: float | None = None,
    kind: str = "python",
    tell: Callable[[str], None] = lambda _: None,
) -> Taken:
    """Take GPUs; the caller gives them back by `release`.

    Args:
        gpus: how many, whichever are free of `on`; None: all of `on`, or one.
        on: of these GPUs, as "0,1", ["0", "1"] or UUIDs; None: of those that CUDA_VISIBLE_DEVICES
            allows.
        vram: so much memory of each, as "10G": others may have the rest. None: whole GPUs.
        timeout_s: wait so long at most; None: without end; 0: not at all.
        kind: what others see that it is for.
        tell: is given what a user should know: whom we wait for.

    Raises:
        UsageError: there are no such GPUs, or fewer than asked for.
        GpusBusyError: they were not free in time.
        SgsError: leases can't be had at all.
    """
    _check(gpus, on, vram, timeout_s)

    def told(text: str) -> None:
        tell(printable(text))

    holder, job = _open(gpus, on, vram, kind, told)
    warning = holder.warn() if on is not None else None
    if warning:
        told(f"warning: {warning}")
    names, held = acquire(holder, job, timeout_s=timeout_s, tell=told)
    return Taken(names, held, holder.close, shared=vram is not None)


def free_now(vram: str | None = None) -> int:
    """How many `take(vram=vram)` would have room for at this moment; nothing is taken.

    Raises:
        UsageError: there never will be room for one.
        SgsError: leases can't be had at all.
    """
    holder, job = _open(None, None, vram, "python", lambda _: None)
    return places(job, holder.cards)


def _open(
    gpus: int | None,
    on: str | Sequence[str] | None,
    vram: str | None,
    kind: str,
    tell: Callable[[str], None],
) -> tuple[Allocator, Job]:
    """Who takes the lease, and what is asked for; nothing is taken yet."""
    job = _request(1 if gpus is None else gpus, vram)
    words = None if on is None else [on] if isinstance(on, str) else list(on)
    chosen = select_gpus(words, tell, option="--on")
    if gpus is None and on is not None:
        job = job._replace(gpus=len(chosen.keys))
    inside = os.environ.get(LEASE_VARIABLE)
    view = open_availability(chosen, inside=inside, avoid_foreign=on is None)
    holder = Allocator(view, kind=kind)
    reason = impossible(job, len(chosen.keys), holder.cards)
    if reason is not None:
        raise UsageError(reason)
    return holder, job


@contextmanager
def lease(
    gpus: int | None = None,
    *,
    on: str | Sequence[str] | None = None,
    vram: str | None = None,
    timeout_s: float | None = None,
) -> Iterator[tuple[str, ...]]:
    """Hold GPUs for a block; the environment names them meanwhile. See `take`.

    A block within another one shares out its GPUs. The environment is the whole program's, so
    that two blocks side by side, in threads or tasks, would each see the other's GPUs.

    Raises:
        UsageError: another thread or task is in such a block.
    """
    with _block():
        taken = take(gpus=gpus, on=on, vram=vram, timeout_s=timeout_s)
        before = {name: os.environ.get(name) for name in taken.environ}
        try:
            os.environ.update(taken.environ)
            yield taken.gpus
        finally:
            _restore(before)
            taken.release()


@contextmanager
def _block() -> Iterator[None]:
    """A `lease` block; only what runs in the innermost one may begin another."""
    around, own = _around.get(), object()
    with _lock:
        if _blocks and _blocks[-1] is not around:
            raise UsageError(
                "another thread or task of this program is in a lease() block, and both would see "
                "the GPUs of the last one: use GPUExecutor, or take() and a process for each"
            )
        _blocks.append(own)
    _around.set(own)
    try:
        yield
    finally:
        _around.set(around)
        with _lock:
            _blocks.remove(own)


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _check(gpus: Any, on: Any, vram: Any, timeout_s: Any) -> None:
    """What a caller without a type checker may have mixed up."""
    named = isinstance(on, str) or (
        isinstance(on, Sequence) and all(isinstance(one, str) for one in on)
    )
    if on is not None and not named:
        raise UsageError(f'on={on!r}: expected names, such as "0,1" or ["0", "1"]')
    if vram is not None and not isinstance(vram, str):
        raise UsageError(f'vram={vram!r}: expected a size with its unit, such as "10G"')
    if gpus is not None and type(gpus) is not int:
        raise UsageError(f"gpus={gpus!r}: expected a number, 1 or more")
    real = isinstance(timeout_s, int | float) and timeout_s >= 0
    if timeout_s is not None and not real:
        raise UsageError(f"timeout_s={timeout_s!r}: expected seconds, 0 or more, or None")


def _request(gpus: int, vram: str | None) -> Job:
    if gpus < 1:
        raise UsageError(f"{gpus} GPUs; expected 1 or more")
    if vram is None:
        return Job(1, b"", gpus, GPU_UNITS)
    memory_mib = parse_memory_mib(vram, "vram")
    return Job(1, b"", gpus, share_units(MAX_JOBS_PER_GPU), memory_mib=memory_mib)
