"""The little statistics that the tables need."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

__all__ = ["describe", "median", "percentile"]


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile by linear interpolation between the closest ranks."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text  # no "-0.0"


def describe(values: Sequence[float], digits: int) -> str:
    """`median (minimum..maximum)`, or the value alone where there is one or all print alike."""
    middle = number(median(values), digits)
    low, high = number(min(values), digits), number(max(values), digits)
    return middle if low == high else f"{middle} ({low}..{high})"
