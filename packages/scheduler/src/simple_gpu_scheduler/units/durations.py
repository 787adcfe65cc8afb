"""Durations in the notation of GNU parallel, and in ms: `90`, `500ms`, `1h30m`, `1d3.5h`."""

from __future__ import annotations

import re
import time

from simple_gpu_scheduler.errors import UsageError

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = r"(?:\d+\.?\d*|\.\d+)"
_DURATION = re.compile(rf"{_PART}s?|(?:{_PART}(?:ms|[smhd]))+", re.ASCII | re.IGNORECASE)


def parse_duration_s(text: str, what: str) -> float:
    """Read a duration, in seconds.

    Args:
        text: What the user wrote.
        what: The option, for the message.

    Raises:
        UsageError: The text is not a duration.
    """
    if not _DURATION.fullmatch(text):
        raise UsageError(
            f"{what} {text!r}: expected seconds or a duration such as 90, 500ms, 2m or 1h30m "
            "(units are ms, s, m, h, d)"
        )
    parts = re.findall(rf"({_PART})(ms|[smhd]?)", text.lower())
    return sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units: `8s`, `2m05s`, `3h10m`, `2d04h`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def format_since(since_s: float, now_s: float) -> str:
    """Format a time in seconds since 1970: the time of day, and the date if it isn't today."""
    then, now = time.localtime(since_s), time.localtime(now_s)
    same_day = then[:3] == now[:3]
    return time.strftime("%H:%M" if same_day else "%d %b %Y %H:%M", then)
