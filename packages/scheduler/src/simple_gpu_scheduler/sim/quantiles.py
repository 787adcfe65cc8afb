"""Percentiles that are one of the given values, never between two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The percentile by nearest rank: the smallest value that `percent` % do not exceed.

    Args:
        ordered: at least one value, the smallest first.
        percent: 0 to 100.
    """
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
