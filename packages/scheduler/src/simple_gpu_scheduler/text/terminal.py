"""Measures and cuts text in columns of a terminal, and names signals."""

from __future__ import annotations

import signal


def text_width(text: str) -> int:
    """Return the number of terminal columns that printable text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    import unicodedata  # a large table, rarely needed

    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def crop(text: str, width: int) -> str:
    """Cut printable text to a width in columns; three dots show that it was cut."""
    if text_width(text) <= width:
        return text
    dots = "..." if width > 6 else ""
    left = width - len(dots)
    kept = []
    for character in text:
        left -= _character_width(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + dots


def pad(text: str, width: int, *, right: bool) -> str:
    """Fill printable text with blanks up to a width in columns; `right` aligns it to the right."""
    space = " " * (width - text_width(text))
    return space + text if right else text + space


def signal_name(number: int) -> str:
    """Return the name of a signal: `SIGKILL` for 9, `signal 40` for a real-time signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
