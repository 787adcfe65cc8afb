"""Durations as GNU parallel writes them, and ms: `90`, `1.5`, `500ms`, `1h30m`, `1d3.5h16.6m`.

And, for a person, durations and since when something is so.
"""

from __future__ import annotations

import re
import time

from simple_gpu_scheduler.errors import UsageError

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = r"(?:\d+\.?\d*|\.\d+)"
_DURATION = re.compile(rf"{_PART}s?|(?:{_PART}(?:ms|[smhd]))+", re.ASCII | re.IGNORECASE)


def parse_duration_s(text: str, what: str) -> float:
    """Seconds in a duration.

    Raises:
        UsageError: naming `what`, if the text is no duration.
    """
    if not _DURATION.fullmatch(text):
        raise UsageError(
            f"{what} {text!r}: expected seconds or a duration such as 90, 500ms, 2m or 1h30m "
            "(units are ms, s, m, h, d)"
        )
    parts = re.findall(rf"({_PART})(ms|[smhd]?)", text.lower())
    return sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Two significant parts for a person: `8s`, `2m05s`, `3h10m`, `2d04h`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def format_since(since_s: float, now_s: float) -> str:
    """The time of day, with the date if that is another; both on the wall clock."""
    then, now = time.localtime(since_s), time.localtime(now_s)
    same_day = then[:3] == now[:3]
    return time.strftime("%H:%M" if same_day else "%d %b %Y %H:%M", then)
