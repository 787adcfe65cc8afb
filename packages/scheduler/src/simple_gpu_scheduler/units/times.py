"""Times of day and dates as users write them: `23:00`, `tomorrow 8:00`, `2026-12-24 18:00`, `+2h`.

Where a zone has summer time, a time that the clock leaps over is by the clock as it was before
(2:30 is 3:30 then), and of a time that comes twice the first is meant that is not past yet
(PEP 495).
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
    """When that is, in seconds since 1970; a time without a day is the next such.

    Args:
        what: names the option in the message.
        now_s: in seconds since 1970.
        zone: of times that name none; None is the machine's.

    Raises:
        UsageError: it isn't a time, or it is past.
    """
    text = text.strip()
    if from_now := _FROM_NOW.fullmatch(text):
        return after_s(from_now["after"] or "0", what, now_s)
    match = _WHEN.fullmatch(text)
    if match is None:
        raise UsageError(f"{what} {text!r}: {_EXPECTED}")
    try:
        times_s = _times_s(match, now_s, zone)
    except (ValueError, OverflowError) as error:  # no such hour, or no such day
        raise UsageError(f"{what} {text!r}: {error}; {_EXPECTED}") from None
    coming_s = [at_s for at_s in times_s if at_s >= now_s]
    if not coming_s:
        raise UsageError(f"{what} {text!r} is past; {_EXPECTED}")
    return _in_reach(min(coming_s), text, what)


def after_s(text: str, what: str, now_s: float) -> float:
    """So long from now, in seconds since 1970.

    Raises:
        UsageError: it isn't a duration, or nobody will live to see that.
    """
    return _in_reach(now_s + parse_duration_s(text, what), text, what)


def format_time(at_s: float, zone: tzinfo | None) -> str:
    """`Thu 2026-12-24 18:00:00 CET`."""
    return datetime.fromtimestamp(at_s, zone).astimezone(zone).strftime("%a %F %T %Z")


def _in_reach(at_s: float, text: str, what: str) -> float:
    if at_s > _LATEST_S:
        raise UsageError(f"{what} {text!r}: expected a time before the year 9999")
    return at_s


def _times_s(match: re.Match[str], now_s: float, zone: tzinfo | None) -> list[float]:
    """All that may be meant."""
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    clock = time(hour, minute, second)
    if match["zone"]:
        zone = datetime.strptime(match["zone"], "%z").tzinfo
    today = datetime.fromtimestamp(now_s, zone).date()
    times_s: list[float] = []
    for day in _days(match["day"], today):
        first_s, second_s = (
            datetime.combine(day, clock.replace(fold=fold), zone).timestamp() for fold in (0, 1)
        )
        times_s += [first_s] if second_s <= first_s else [first_s, second_s]
    return times_s


def _days(word: str | None, today: date) -> list[date]:
    tomorrow = today + timedelta(days=1)
    if word is None:
        return [today, tomorrow]
    known = {"today": today, "tomorrow": tomorrow}
    return [known.get(word.lower()) or date.fromisoformat(word)]
