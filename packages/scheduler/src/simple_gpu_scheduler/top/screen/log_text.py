"""The output of a job, as lines without control sequences. Pure."""

from __future__ import annotations

import re

from simple_gpu_scheduler.text.printable import printable

#: Control sequences (ECMA-48): sequences with parameters, strings up to their end, the rest.
_STEERING = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_TAB_COLUMNS = 8


def log_lines(data: bytes, *, whole: bool = True) -> list[str]:
    """The lines, the last of which may grow yet.

    A bar that was drawn over and over, with carriage returns or backspaces, is there as it was
    drawn last. Bytes that are no UTF-8 and characters that can't be printed are escaped.

    Args:
        whole: False if there is something before the data: then the rest of a line, and of a
            character, at its beginning is passed over, as far as there is a line after it.
    """
    if not whole:
        _, newline, rest = data.partition(b"\n")
        data = rest if newline else data.lstrip(bytes(range(0x80, 0xC0)))
    text = data.decode(errors="backslashreplace")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [_harmless(text) for text in lines]


def _harmless(text: str) -> str:
    if text.isprintable():
        return text
    text = _as_drawn_last(_STEERING.sub("", text))
    if "\b" in text:
        text = _taken_back(text)
    return printable(text.expandtabs(_TAB_COLUMNS))


def _as_drawn_last(text: str) -> str:
    """What carriage returns have left: the last that was drawn over the line."""
    return next((part for part in reversed(text.split("\r")) if part.strip(" \b")), "")


def _taken_back(text: str) -> str:
    kept: list[str] = []
    for character in text:
        if character != "\b":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)
