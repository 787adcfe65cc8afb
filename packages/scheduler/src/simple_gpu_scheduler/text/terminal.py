"""Text in columns of a terminal."""

from __future__ import annotations

import signal


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


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; the number for a real-time signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
