"""Take one lease, and wait for it where others hold the GPUs."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.policy.model import PipePolicy, Snapshot
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.reasons import explain

#: No sleep is longer; poll(2) takes no more.
_LONGEST_S = 1_000_000.0


class GpusBusyError(SgsError):
    """The GPUs were not free in the time that the user gave."""


def acquire(
    holder: Allocator, job: Job, *, timeout_s: float | None, tell: Callable[[str], None]
) -> tuple[tuple[str, ...], Lease]:
    """The GPUs for the job, by the same plan as every scheduler's, and the lease on them.

    Args:
        timeout_s: wait so long at most; None: without end; 0: not at all.
        tell: is told once whom we wait for.

    Raises:
        GpusBusyError: they were not free in time; the message says who has them.
        SgsError: leases can't be had at all.
    """
    try:
        return _acquire(holder, job, timeout_s, tell)
    except BaseException:  # ^C above all: in the name of nobody it would wait on
        holder.close()
        raise


def _acquire(
    holder: Allocator, job: Job, timeout_s: float | None, tell: Callable[[str], None]
) -> tuple[tuple[str, ...], Lease]:
    until_s = None if timeout_s is None else time.monotonic() + timeout_s
    # Of the jobs to come we know none, as `frag` would have to: parts of cards go together.
    policy = PipePolicy(order="fifo" if job.memory_mib is None else "best-fit")
    while True:
        decided = plan(Snapshot(time.monotonic(), holder.cards, (), [job]), policy)
        if decided.starts:
            lease = holder.take(decided.starts[0])
            for remark in holder.remarks():
                tell(remark)
            if lease is not None:
                holder.settle(None)
                return decided.starts[0].gpus, lease
            continue
        assert decided.hold is not None
        news = holder.settle(decided.hold)
        for remark in holder.remarks():
            tell(remark)
        left_s = None if until_s is None else until_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise GpusBusyError(holder.reasons() or explain(decided.hold))
        if news:
            tell(f"waiting: {news}")
        if news is None:
            _sleep(holder, left_s)


def _sleep(holder: Allocator, limit_s: float | None) -> None:
    """Until others' leases have changed."""
    limits_s = [one for one in (limit_s, holder.refresh_in_s) if one is not None]
    poll = select.poll()
    if holder.wake_fd is not None:
        poll.register(holder.wake_fd, select.POLLIN)
    poll.poll(min(*limits_s, _LONGEST_S) * 1000 if limits_s else None)
    holder.refresh()
