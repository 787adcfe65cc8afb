"""Take one lease, and wait for it where others hold the GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.policy.model import PipePolicy, Snapshot
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.reasons import explain
from simple_gpu_scheduler.system.fds import wait_readable

#: The longest sleep. poll(2) accepts no more.
_LONGEST_S = 1_000_000.0


class GpusBusyError(SgsError):
    """The GPUs were not free in the time that the user gave."""


def acquire(
    allocator: Allocator, job: Job, *, timeout_s: float | None, tell: Callable[[str], None]
) -> tuple[tuple[str, ...], Lease]:
    """Choose GPUs for the job by the plan that every scheduler uses, and take a lease on them.

    Args:
        timeout_s: the longest wait in seconds; None: no limit; 0: don't wait.
        tell: called with messages for the user: remarks, and once whom we wait for.

    Returns:
        The names of the GPUs, and the lease.

    Raises:
        GpusBusyError: they were not free in time; the message says who has them.
        SgsError: no lease can be had at all.
    """
    try:
        return _acquire(allocator, job, timeout_s, tell)
    except BaseException:  # such as ^C: our ticket must not keep others waiting
        allocator.close()
        raise


def _acquire(
    allocator: Allocator, job: Job, timeout_s: float | None, tell: Callable[[str], None]
) -> tuple[tuple[str, ...], Lease]:
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    # The order `frag` needs to know the jobs that come next, and we don't. `best-fit` doesn't.
    policy = PipePolicy(order="fifo" if job.memory_mib is None else "best-fit")
    while True:
        decision = plan(Snapshot(time.monotonic(), allocator.cards, (), [job]), policy)
        if decision.starts:
            lease = allocator.take(decision.starts[0])
            for remark in allocator.remarks():
                tell(remark)
            if lease is not None:
                allocator.settle(None)
                return decision.starts[0].gpus, lease
            continue
        assert decision.hold is not None
        blockers = allocator.settle(decision.hold)
        for remark in allocator.remarks():
            tell(remark)
        left_s = None if deadline_s is None else deadline_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise GpusBusyError(allocator.reasons() or explain(decision.hold))
        if blockers:
            tell(f"waiting: {blockers}")
        if blockers is None:
            _sleep(allocator, left_s)


def _sleep(allocator: Allocator, limit_s: float | None) -> None:
    """Sleep until others' leases change, or it is time to read them again."""
    limits_s = [limit for limit in (limit_s, allocator.refresh_in_s) if limit is not None]
    fds = [] if allocator.wake_fd is None else [allocator.wake_fd]
    wait_readable(fds, min(*limits_s, _LONGEST_S) if limits_s else None)
    allocator.refresh()
