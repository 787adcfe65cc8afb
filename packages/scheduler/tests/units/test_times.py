"""When a job is to start, as users write it."""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.units.times import after_s, format_time, parse_time_s

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 28, 22, 0, tzinfo=BERLIN).timestamp()  # 2:00 is 3:00 that night
AUTUMN = datetime(2026, 10, 24, 22, 0, tzinfo=BERLIN).timestamp()  # 3:00 is 2:00 that night


def when(text: str, now_s: float = SPRING) -> str:
    at_s = parse_time_s(text, "--at", now_s, BERLIN)
    return datetime.fromtimestamp(at_s, BERLIN).isoformat(sep=" ", timespec="minutes")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("23:00", "2026-03-28 23:00+01:00"),
        ("22:00", "2026-03-28 22:00+01:00"),
        ("21:59:59", "2026-03-29 21:59+02:00"),
        ("9:05", "2026-03-29 09:05+02:00"),
        ("today 23:30", "2026-03-28 23:30+01:00"),
        ("Tomorrow  8:00", "2026-03-29 08:00+02:00"),
        ("tomorrow", "2026-03-29 00:00+01:00"),
        ("2026-12-24 18:00", "2026-12-24 18:00+01:00"),
        ("2026-12-24T18:00:00", "2026-12-24 18:00+01:00"),
        ("2026-12-24", "2026-12-24 00:00+01:00"),
        ("2026-12-24T18:00Z", "2026-12-24 19:00+01:00"),
        ("2026-12-24 18:00:00.5-05:00", "2026-12-25 00:00+01:00"),
        ("8:00 +0530", "2026-03-29 04:30+02:00"),
        ("+2h", "2026-03-29 00:00+01:00"),
        ("+ 90", "2026-03-28 22:01+01:00"),
        ("now+30m", "2026-03-28 22:30+01:00"),
        (" NOW + 1d ", "2026-03-29 23:00+02:00"),
        ("now", "2026-03-28 22:00+01:00"),
    ],
)
def test_times(text: str, at: str) -> None:
    assert when(text) == at


def test_what_the_clock_leaps_over_is_by_the_clock_before() -> None:
    assert when("2:30") == "2026-03-29 03:30+02:00"
    assert when("2026-03-29 2:30") == "2026-03-29 03:30+02:00"


def test_of_what_comes_twice_the_first_is_meant_that_is_not_past() -> None:
    assert when("2:30", AUTUMN) == "2026-10-25 02:30+02:00"
    between_s = datetime(2026, 10, 25, 2, 45, tzinfo=BERLIN).timestamp()
    assert when("2:30", between_s) == "2026-10-25 02:30+01:00"
    assert when("2026-10-25 2:30", between_s) == "2026-10-25 02:30+01:00"
    assert when("2:30", between_s + 3600) == "2026-10-26 02:30+01:00"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a time such as 23:00"),
        ("8", "expected a time"),
        ("noon", "expected a time"),
        ("8:0", "expected a time"),
        ("25:00", "hour must be in 0..23"),
        ("12:60", "minute must be in 0..59"),
        ("2026-02-30 8:00", "day is out of range"),
        ("2026-2-3 8:00", "expected a time"),
        ("todayT8:00", "expected a time"),
        ("8:00 tomorrow", "expected a time"),
        ("8:00+99:00", "expected a time"),
        ("today 8:00", "is past"),
        ("2020-01-01", "is past"),
        ("0001-01-01", "is past"),
        ("+x", "expected seconds or a duration"),
        ("now+", "expected a time"),
        ("+" + "9" * 400, "before the year 9999"),
        ("+999999999d", "before the year 9999"),
        ("9999-12-31 23:59", "before the year 9999"),
        ("\u0662\u0663:\u0660\u0660", "expected a time"),
        ("8:00\udcff", "expected a time"),
    ],
)
def test_what_is_no_time_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="--at") as caught:
        parse_time_s(text, "--at", SPRING, BERLIN)
    assert said in str(caught.value)


def test_a_duration_counts_from_now() -> None:
    assert after_s("1m30s", "--delay", 100.0) == 190.0


def test_it_is_shown_with_its_zone() -> None:
    assert format_time(SPRING, BERLIN) == "Sat 2026-03-28 22:00:00 CET"


ZONES = st.sampled_from(
    [BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), timezone.utc]
)
NOWS = st.integers(0, 4_000_000_000)


@given(NOWS, ZONES, st.integers(0, 23), st.integers(0, 59))
def test_the_next_such_time_is_within_a_day_or_so(
    now_s: int, zone: ZoneInfo, hour: int, minute: int
) -> None:
    at_s = parse_time_s(f"{hour}:{minute:02}", "--at", now_s, zone)
    assert now_s <= at_s <= now_s + 25 * 3600
    at = datetime.fromtimestamp(at_s, zone)
    leapt = datetime.fromtimestamp(at_s - 3 * 3600, zone).utcoffset() != at.utcoffset()
    assert leapt or (at.hour, at.minute) == (hour, minute)


@given(NOWS, ZONES, st.integers(60, 10**8))
def test_a_written_time_is_read_as_it_was_meant(now_s: int, zone: ZoneInfo, later_s: int) -> None:
    later = datetime.fromtimestamp(now_s + later_s, zone)
    assert parse_time_s(later.isoformat(), "--at", now_s, timezone.utc) == now_s + later_s
    plain = later.replace(tzinfo=None)
    if not later.fold:
        assert parse_time_s(f"{plain}", "--at", now_s, zone) == now_s + later_s


@given(st.text(max_size=30) | st.from_regex(r"\A[-+T0-9: nowtday]{1,25}\Z"), NOWS)
def test_anything_else_is_an_error_of_the_users(text: str, now_s: int) -> None:
    with contextlib.suppress(UsageError):
        assert parse_time_s(text, "--at", now_s, BERLIN) >= now_s
