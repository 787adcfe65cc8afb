"""Durations, as users write and read them."""

from __future__ import annotations

import pytest

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.units.durations import format_duration, parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), (".5", 0.5), ("2m", 120), ("1h30m", 5400), ("0", 0), ("10S", 10),
     ("500ms", 0.5), ("1m500ms", 60.5), ("1.5MS", 0.0015),
     ("1d3.5h16.6m4s", 86400 + 12600 + 996 + 4)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text, "--timeout") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1x", "1h30", "1e3", "nan", "inf", "٣", "1 m", "ms", "1sm", "1w"]
)
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        parse_duration_s(text, "--timeout")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.9, "59s"), (125, "2m05s"), (7260, "2h01m"), (190_000, "2d04h"), (-1, "0s")],
)
def test_short_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
