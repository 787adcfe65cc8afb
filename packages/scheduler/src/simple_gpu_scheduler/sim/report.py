"""Simulations side by side, for a person."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.sim.metrics import Metrics
from simple_gpu_scheduler.text.table import format_table
from simple_gpu_scheduler.units.durations import format_duration

HEAD = (
    "policy",
    "makespan",
    "mean wait",
    "p95 wait",
    "max wait",
    "idle GPU-h",
    "packing",
    "late",
)


def cells(one: Metrics) -> tuple[str, ...]:
    """A row of the table."""
    waits = (one.mean_wait_s, one.p95_wait_s, one.max_wait_s)
    return (
        one.policy,
        format_duration(one.makespan_s),
        *(format_duration(wait_s) for wait_s in waits),
        f"{one.idle_gpu_h:,.1f}",
        f"{one.packing:.0%}",
        str(one.late),
    )


def table(metrics: Sequence[Metrics]) -> list[str]:
    """Lines of a table: names to the left, numbers to the right."""
    rows = [HEAD, *(cells(one) for one in metrics)]
    return format_table(rows, [column > 0 for column in range(len(HEAD))])


def compared(one: Metrics, base: Metrics) -> str:
    """A sentence on what a policy gains."""
    makespan = _times(one.makespan_s, base.makespan_s)
    wait = _times(one.mean_wait_s, base.mean_wait_s)
    return f"{one.policy} takes {makespan} the makespan and {wait} the waiting of {base.policy}"


def _times(value: float, base: float) -> str:
    return f"{value / base:.2f} times" if base else "as much as"
