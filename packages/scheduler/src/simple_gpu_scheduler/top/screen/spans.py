"""Lines of a screen as spans of text with the names of their styles. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.text.terminal import crop, pad, text_width


class Span(NamedTuple):
    """Some printable text in one style."""

    text: str
    style: str = ""  #: a name in `STYLES`


Line = tuple[Span, ...]

#: What the names mean to a terminal, which has the last word about colours.
STYLES = {
    "": "",
    "bold": "bold",
    "dim": "dim",
    "title": "bold",
    "heads": "reverse",
    "chosen": "reverse",
    "chosen heads": "bold reverse",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
    "odd": "magenta",
}


def line(*spans: Span | str) -> Line:
    """A line of spans; text alone is in the plain style."""
    return tuple(Span(span) if isinstance(span, str) else span for span in spans)


def plain(spans: Iterable[Span]) -> str:
    """The text without its styles."""
    return "".join(span.text for span in spans)


def width_of(spans: Iterable[Span]) -> int:
    """The terminal columns that it takes."""
    return sum(text_width(span.text) for span in spans)


def fitted(spans: Sequence[Span], width: int) -> Line:
    """The spans cut to `width`, or filled up to it with blanks in the last style."""
    fitting: list[Span] = []
    room = max(0, width)
    for span in spans:
        text = crop(span.text, room)
        fitting.append(Span(text, span.style))
        room -= text_width(text)
        if text != span.text:
            break
    style = fitting[-1].style if fitting else ""
    return (*fitting, Span(" " * room, style)) if room else tuple(fitting)


def in_style(spans: Iterable[Span], style: str) -> Line:
    """The spans in one style."""
    return tuple(Span(span.text, style) for span in spans)


def both_ends(left: Sequence[Span], right: Sequence[Span], width: int, fill: str = " ") -> Line:
    """A part at the left and a part at the right; the left part is cut if there is no room."""
    room = width - width_of(right)
    if room < 0:
        return fitted(right, width)
    style = left[-1].style if left else ""
    gap = room - width_of(left)
    if gap > 0:
        return (*left, Span(fill * gap, style), *right)
    return (*fitted(left, room), *right)


def cell(text: str, width: int, *, right: bool = False) -> str:
    """Text cut and filled to a column's width."""
    return pad(crop(text, width), width, right=right)


def wrapped(text: str, width: int, *, words: bool = False) -> list[str]:
    """Printable text in lines of at most `width` columns; at least one line.

    Args:
        words: break between words, where they aren't too long for that.
    """
    lines: list[str] = []
    rest = text
    while text_width(rest) > width:
        end = _fitting(rest, width)
        if words and (blank := rest.rfind(" ", end // 2, end + 1)) > 0:
            end = blank + 1
        lines.append(rest[:end].rstrip() if words else rest[:end])
        rest = rest[end:]
    return [*lines, rest]


def _fitting(text: str, width: int) -> int:
    """How many characters fit; one at least, even if it is too wide."""
    if text.isascii():
        return max(1, width)
    room, end = width, 0
    while end < len(text) and text_width(text[end]) <= room:
        room -= text_width(text[end])
        end += 1
    return max(1, end)
