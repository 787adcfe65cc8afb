"""Times of day and dates as users write them: `23:00`, `tomorrow 8:00`, `2026-12-24 18:00`, `+2h`.

Daylight saving: a skipped time moves one hour later (2:30 becomes 3:30); a repeated time means the
next occurrence (PEP 495).
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, tzinfo

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.units.durations import parse_duration_s

_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?"
_ZONE = r"(?P<zone>Z|[-+]\d\d(?::?\d\d)?)"
_DAY = r"(?P<day>today|tomorrow|\d{4}-\d\d-\d\d)"
_WHEN = re.compile(
    rf"(?=.){_DAY}?(?:(?:\A|\s+|(?<=\d)T){_TIME}\s*{_ZONE}?)?", re.ASCII | re.IGNORECASE
)
_FROM_NOW = re.compile(r"now|(?:now\s*)?\+\s*(?P<after>.+)", re.ASCII | re.IGNORECASE)
_LATEST_S = 253_370_764_800.0  # the year 9999, the last that Python has
_EXPECTED = (
    "expected a time such as 23:00, 'tomorrow 8:00', '2026-12-24 18:00', 2026-12-24T18:00Z or +2h"
)


def parse_time_s(text: str, what: str, now_s: float, zone: tzinfo | None) -> float:
    """Read a time, in seconds since 1970; a time without a day means its next occurrence.

    Args:
        text: What the user wrote.
        what: The option, for the message.
        now_s: The time now, in seconds since 1970.
        zone: The zone of times that name none; None: that of the machine.

    Raises:
        UsageError: The text is not a time, or the time is past.
    """
    text = text.strip()
    if from_now := _FROM_NOW.fullmatch(text):
        return after_s(from_now["after"] or "0", what, now_s)
    match = _WHEN.fullmatch(text)
    if match is None:
        raise UsageError(f"{what} {text!r}: {_EXPECTED}")
    try:
        times_s = _possible_times_s(match, now_s, zone)
    except (ValueError, OverflowError) as error:  # the hour or the day doesn't exist
        raise UsageError(f"{what} {text!r}: {error}; {_EXPECTED}") from None
    future_s = [time_s for time_s in times_s if time_s >= now_s]
    if not future_s:
        raise UsageError(f"{what} {text!r} is past; {_EXPECTED}")
    return _check_year(min(future_s), text, what)


def after_s(text: str, what: str, now_s: float) -> float:
    """Return the time after a duration, in seconds since 1970.

    Args:
        text: The duration, as the user wrote it.
        what: The option, for the message.
        now_s: The time now, in seconds since 1970.

    Raises:
        UsageError: The text is not a duration, or the time is after the year 9999.
    """
    return _check_year(now_s + parse_duration_s(text, what), text, what)


def format_time(time_s: float, zone: tzinfo | None) -> str:
    """Format a time in seconds since 1970: `Thu 2026-12-24 18:00:00 CET`."""
    return datetime.fromtimestamp(time_s, zone).astimezone(zone).strftime("%a %F %T %Z")


def _check_year(time_s: float, text: str, what: str) -> float:
    if time_s > _LATEST_S:
        raise UsageError(f"{what} {text!r}: expected a time before the year 9999")
    return time_s


def _possible_times_s(match: re.Match[str], now_s: float, zone: tzinfo | None) -> list[float]:
    """All times that the text may mean."""
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    clock = time(hour, minute, second)
    if match["zone"]:
        zone = datetime.strptime(match["zone"], "%z").tzinfo
    today = datetime.fromtimestamp(now_s, zone).date()
    times_s: list[float] = []
    for day in _possible_days(match["day"], today):
        first_s, second_s = (
            datetime.combine(day, clock.replace(fold=fold), zone).timestamp() for fold in (0, 1)
        )
        times_s += [first_s] if second_s <= first_s else [first_s, second_s]
    return times_s


def _possible_days(text: str | None, today: date) -> list[date]:
    tomorrow = today + timedelta(days=1)
    if text is None:
        return [today, tomorrow]
    named_days = {"today": today, "tomorrow": tomorrow}
    return [named_days.get(text.lower()) or date.fromisoformat(text)]
