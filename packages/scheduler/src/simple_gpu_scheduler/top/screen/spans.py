"""Lines of a screen as spans: text with the name of its style. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.text.terminal import crop, pad, text_width


class Span(NamedTuple):
    """Printable text in one style."""

    text: str
    style: str = ""  #: a name in `STYLES`


Line = tuple[Span, ...]

#: The styles for Rich. The terminal decides what each colour looks like.
STYLES = {
    "": "",
    "bold": "bold",
    "dim": "dim",
    "title": "bold",
    "heads": "reverse",
    "selected": "reverse",
    "selected heads": "bold reverse",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
    "odd": "magenta",
}


def line(*spans: Span | str) -> Line:
    """Make a line; text without a style gets the plain style."""
    return tuple(Span(span) if isinstance(span, str) else span for span in spans)


def plain_text(spans: Iterable[Span]) -> str:
    """The text without its styles."""
    return "".join(span.text for span in spans)


def columns_of(spans: Iterable[Span]) -> int:
    """The number of terminal columns that the spans take."""
    return sum(text_width(span.text) for span in spans)


def fit(spans: Sequence[Span], width: int) -> Line:
    """Cut the spans to `width` columns, or fill them up with blanks in the last style."""
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


def restyle(spans: Iterable[Span], style: str) -> Line:
    """The same text, all in one style."""
    return tuple(Span(span.text, style) for span in spans)


def justify(left: Sequence[Span], right: Sequence[Span], width: int, fill: str = " ") -> Line:
    """One part at the left and one at the right; the left part is cut if there is no room."""
    room = width - columns_of(right)
    if room < 0:
        return fit(right, width)
    style = left[-1].style if left else ""
    gap = room - columns_of(left)
    if gap > 0:
        return (*left, Span(fill * gap, style), *right)
    return (*fit(left, room), *right)


def fit_cell(text: str, width: int, *, right: bool = False) -> str:
    """Cut or fill the text to the width of a column."""
    return pad(crop(text, width), width, right=right)


def wrap(text: str, width: int, *, at_words: bool = False) -> list[str]:
    """Break printable text into lines of at most `width` columns; at least one line.

    Args:
        at_words: break between words where possible.
    """
    lines: list[str] = []
    rest = text
    while text_width(rest) > width:
        end = _count_fitting(rest, width)
        if at_words and (blank := rest.rfind(" ", end // 2, end + 1)) > 0:
            end = blank + 1
        lines.append(rest[:end].rstrip() if at_words else rest[:end])
        rest = rest[end:]
    return [*lines, rest]


def _count_fitting(text: str, width: int) -> int:
    """How many characters fit; at least one, even if it is too wide."""
    if text.isascii():
        return max(1, width)
    room, end = width, 0
    while end < len(text) and text_width(text[end]) <= room:
        room -= text_width(text[end])
        end += 1
    return max(1, end)
