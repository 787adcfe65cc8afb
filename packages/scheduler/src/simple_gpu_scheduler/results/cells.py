"""Text for a terminal: how wide it is, and values as cells."""

from __future__ import annotations

import math

from simple_gpu_scheduler.results.parsing import Value
from simple_gpu_scheduler.text.printable import printable


def text_width(text: str) -> int:
    """Return the terminal columns that printable text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    import unicodedata  # a large table, which most results don't need

    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def crop(text: str, width: int) -> str:
    """Cut printable text to a width, with three dots where something is missing."""
    if text_width(text) <= width:
        return text
    dots = "..." if width > 6 else ""
    room = width - len(dots)
    kept = []
    for character in text:
        room -= _character_width(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + dots


def pad(text: str, width: int, *, right: bool) -> str:
    """Fill printable text up to a width, on its left if it belongs to the right."""
    space = " " * (width - text_width(text))
    return space + text if right else text + space


def format_value(value: Value, *, short: bool = True) -> str:
    """Write a value as a cell: numbers whole if `short`, otherwise to four decimals."""
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
    """Write a duration in two units at most."""
    if seconds < 60:
        return f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.1f}s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes}m{int(seconds) % 60:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
