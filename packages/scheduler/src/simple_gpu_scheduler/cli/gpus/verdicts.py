"""Why a job would get each GPU, or why not, as lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.policy.explain import GpuVerdict
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.table import format_table


def verdict_lines(verdicts: Sequence[GpuVerdict]) -> list[str]:
    """Return a line for each GPU: `*` if the job would get it, its id, and why."""
    rows = [
        (f"{'*' if verdict.chosen else ' '} GPU {printable(verdict.gpu)}", verdict.reason)
        for verdict in verdicts
    ]
    return format_table(rows, (False, False))
