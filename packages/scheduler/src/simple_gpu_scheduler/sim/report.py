"""The table of `sgs simulate`, and its last sentence."""

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


def cells(metrics: Metrics) -> tuple[str, ...]:
    """The cells of one row of the table."""
    waits = (metrics.mean_wait_s, metrics.p95_wait_s, metrics.max_wait_s)
    return (
        metrics.policy,
        format_duration(metrics.makespan_s),
        *(format_duration(wait_s) for wait_s in waits),
        f"{metrics.idle_gpu_h:,.1f}",
        f"{metrics.packing:.0%}",
        str(metrics.late),
    )


def table(metrics: Sequence[Metrics]) -> list[str]:
    """The lines of the table: names are left-aligned, numbers right-aligned."""
    rows = [HEAD, *map(cells, metrics)]
    return format_table(rows, [column > 0 for column in range(len(HEAD))])


def compared(metrics: Metrics, base: Metrics) -> str:
    """A sentence that compares the results of a policy with those of another policy."""
    makespan = _ratio_text(metrics.makespan_s, base.makespan_s)
    wait = _ratio_text(metrics.mean_wait_s, base.mean_wait_s)
    return (
        f"{metrics.policy} takes {makespan} the makespan and {wait} the waiting of {base.policy}"
    )


def _ratio_text(value: float, base: float) -> str:
    return f"{value / base:.2f} times" if base else "as much as"
