"""Values as the cells of a table."""

from __future__ import annotations

import math

from simple_gpu_scheduler.results.parsing import Value
from simple_gpu_scheduler.text.printable import printable


def format_value(value: Value, *, short: bool = True) -> str:
    """Return a value as a cell: numbers in full if `short`, otherwise with four decimals."""
    if value is None or value == "":
        return "-"
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not short and math.isfinite(value):
        return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3e}"
    if isinstance(value, list):
        return "[" + ",".join(format_value(item) for item in value) + "]"
    return str(value)


def duration(seconds: float) -> str:
    """Return a duration in at most two units, such as `9.50s` or `1h05m`."""
    if seconds < 60:
        return f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.1f}s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes}m{int(seconds) % 60:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
