"""The output of a job as printable lines, without control sequences. Pure."""

from __future__ import annotations

import re

from simple_gpu_scheduler.text.printable import printable

#: Control sequences of ECMA-48: those with parameters, strings up to their end, and the others.
_CONTROL_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_TAB_COLUMNS = 8


def log_lines(data: bytes, *, whole: bool = True) -> list[str]:
    """The lines of a log; the last one may still grow.

    A progress bar that redraws itself with carriage returns or backspaces shows its last state.
    Bytes that are not UTF-8 and characters that can't be printed are escaped.

    Args:
        whole: False if the data starts in the middle of the log. Then the first line is incomplete
            and left out; if it is the only line, only the rest of a cut character is left out.
    """
    if not whole:
        _, newline, rest = data.partition(b"\n")
        data = rest if newline else data.lstrip(bytes(range(0x80, 0xC0)))
    text = data.decode(errors="backslashreplace")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [_make_printable(text) for text in lines]


def _make_printable(text: str) -> str:
    if text.isprintable():
        return text
    text = _apply_carriage_returns(_CONTROL_SEQUENCE.sub("", text))
    if "\b" in text:
        text = _apply_backspaces(text)
    return printable(text.expandtabs(_TAB_COLUMNS))


def _apply_carriage_returns(text: str) -> str:
    """The last text that was drawn over the line."""
    return next((part for part in reversed(text.split("\r")) if part.strip(" \b")), "")


def _apply_backspaces(text: str) -> str:
    kept: list[str] = []
    for character in text:
        if character != "\b":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)
