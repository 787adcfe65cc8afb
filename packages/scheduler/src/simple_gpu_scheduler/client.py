"""Leases for Python programs: GPUs that nobody else gets until you give them back.

    from simple_gpu_scheduler.client import lease

    with lease(gpus=1) as gpus:  # waits until a GPU is free
        ...  # CUDA_VISIBLE_DEVICES names it

CUDA reads this variable once, when it starts in a process. So take the lease before the first use
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


#: The open `lease` blocks of this program, the innermost last.
_blocks: list[object] = []
#: The innermost `lease` block around the code that runs; each thread and task has its own.
_current_block: ContextVar[object] = ContextVar("current_block", default=None)
_blocks_lock = threading.Lock()


class Taken(NamedTuple):
    """GPUs that this program has leased.

    They are leased until `release` is called, or until the last process that has inherited
    `lease.fd` ends. A forked child shares the lease; only its parent can give it back.
    """

    gpus: tuple[str, ...]  #: the ids of the GPUs
    lease: Lease  #: the lease: its id, and the descriptor whose lock holds it
    release: Callable[[], None]  #: gives the GPUs back
    shared: bool = False  #: True if others may use the rest of these GPUs

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables for a program that is to use just these GPUs.

        If the GPUs are shared, it also has variables that keep frameworks from taking all of the
        memory. Of these, it leaves out what the user has set already.
        """
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
    """Lease GPUs until the caller gives them back by `release`.

    Unlike `lease`, it leaves the environment of this program as it is: give `Taken.environ` to the
    process that is to use the GPUs.

    Args:
        gpus: The number of GPUs (default: all of `on`, or 1 without `on`).
        on: The ids of the GPUs to choose from, such as "0,1", ["0", "1"] or UUIDs (default: the
            GPUs in CUDA_VISIBLE_DEVICES, or all).
        vram: The memory to lease on each GPU, such as "10G"; others may lease the rest (default:
            whole GPUs).
        timeout_s: The longest time to wait, in seconds; 0 doesn't wait (default: no limit).
        kind: The kind of program, as `sgs gpus` shows it to other users.
        tell: Called with each message for the user, such as whom this program waits for.

    Returns:
        The leased GPUs.

    Raises:
        UsageError: There are no such GPUs, or fewer than `gpus`.
        GpusBusyError: The GPUs were not free within `timeout_s`.
        SgsError: GPUs can't be leased on this machine.
    """
    _check(gpus, on, vram, timeout_s)

    def notify(text: str) -> None:
        tell(printable(text))

    allocator, job = _open(gpus, on, vram, kind, notify)
    warning = allocator.warn() if on is not None else None
    if warning:
        notify(f"warning: {warning}")
    names, held_lease = acquire(allocator, job, timeout_s=timeout_s, tell=notify)
    return Taken(names, held_lease, allocator.close, shared=vram is not None)


def free_now(vram: str | None = None) -> int:
    """How many times `take(vram=vram)` would succeed at this moment; it leases nothing.

    Raises:
        UsageError: No GPU has that much memory.
        SgsError: GPUs can't be leased on this machine.
    """
    allocator, job = _open(None, None, vram, "python", lambda _: None)
    return places(job, allocator.cards)


def _open(
    gpus: int | None,
    on: str | Sequence[str] | None,
    vram: str | None,
    kind: str,
    tell: Callable[[str], None],
) -> tuple[Allocator, Job]:
    """An allocator for the GPUs, and the request as a job; nothing is leased yet."""
    job = _request(1 if gpus is None else gpus, vram)
    ids = None if on is None else [on] if isinstance(on, str) else list(on)
    selection = select_gpus(ids, tell, option="--on")
    if gpus is None and on is not None:
        job = job._replace(gpus=len(selection.keys))
    inside = os.environ.get(LEASE_VARIABLE)
    availability = open_availability(selection, inside=inside, avoid_foreign=on is None)
    allocator = Allocator(availability, kind=kind)
    total = len(selection.keys)
    if on is not None and job.gpus > total:
        raise UsageError(f"--gpus asks for {job.gpus} GPUs, but --on names {total}")
    reason = impossible(job, total, allocator.cards)
    if reason is not None:
        raise UsageError(f"the lease {reason}")
    return allocator, job


@contextmanager
def lease(
    gpus: int | None = None,
    *,
    on: str | Sequence[str] | None = None,
    vram: str | None = None,
    timeout_s: float | None = None,
) -> Iterator[tuple[str, ...]]:
    """Lease GPUs for a `with` block, and name them in the environment meanwhile.

    A block inside another one takes its GPUs from those of the outer block. The environment
    belongs to the whole program: two blocks side by side, in threads or tasks, would each see the
    GPUs of the other. So the second one is refused.

    Args:
        gpus: The number of GPUs (default: all of `on`, or 1 without `on`).
        on: The ids of the GPUs to choose from, such as "0,1", ["0", "1"] or UUIDs (default: the
            GPUs in CUDA_VISIBLE_DEVICES, or all).
        vram: The memory to lease on each GPU, such as "10G"; others may lease the rest (default:
            whole GPUs).
        timeout_s: The longest time to wait, in seconds; 0 doesn't wait (default: no limit).

    Yields:
        The ids of the GPUs.

    Raises:
        UsageError: There are no such GPUs, or another thread or task is in such a block.
        GpusBusyError: The GPUs were not free within `timeout_s`.
        SgsError: GPUs can't be leased on this machine.
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
    """Register a `lease` block; only code inside the innermost block may open another one."""
    outer, block = _current_block.get(), object()
    with _blocks_lock:
        if _blocks and _blocks[-1] is not outer:
            raise UsageError(
                "another thread or task of this program is in a lease() block, and both would see "
                "the GPUs of the last one: use GPUExecutor, or take() and a process for each"
            )
        _blocks.append(block)
    _current_block.set(block)
    try:
        yield
    finally:
        _current_block.set(outer)
        with _blocks_lock:
            _blocks.remove(block)


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _check(gpus: Any, on: Any, vram: Any, timeout_s: Any) -> None:
    """Refuse arguments of the wrong type, which a caller without a type checker may pass."""
    is_names = isinstance(on, str) or (
        isinstance(on, Sequence) and all(isinstance(name, str) for name in on)
    )
    if on is not None and not is_names:
        raise UsageError(f'on={on!r}: expected names, such as "0,1" or ["0", "1"]')
    if vram is not None and not isinstance(vram, str):
        raise UsageError(f'vram={vram!r}: expected a size with its unit, such as "10G"')
    if gpus is not None and type(gpus) is not int:
        raise UsageError(f"gpus={gpus!r}: expected a number, 1 or more")
    is_seconds = isinstance(timeout_s, int | float) and timeout_s >= 0
    if timeout_s is not None and not is_seconds:
        raise UsageError(f"timeout_s={timeout_s!r}: expected seconds, 0 or more, or None")


def _request(gpus: int, vram: str | None) -> Job:
    if gpus < 1:
        raise UsageError(f"{gpus} GPUs; expected 1 or more")
    if vram is None:
        return Job(1, b"", gpus, GPU_UNITS)
    memory_mib = parse_memory_mib(vram, "vram")
    return Job(1, b"", gpus, share_units(MAX_JOBS_PER_GPU), memory_mib=memory_mib)
