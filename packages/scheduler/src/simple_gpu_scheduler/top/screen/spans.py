"""Lines of a screen as pieces of text with the names of their styles. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.text.terminal import crop, pad, text_width


class Piece(NamedTuple):
    """Some printable text in one style."""

    text: str
    style: str = ""  #: a name in `STYLES`


Line = tuple[Piece, ...]

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


def line(*pieces: Piece | str) -> Line:
    """A line of pieces; text alone is in the plain style."""
    return tuple(Piece(one) if isinstance(one, str) else one for one in pieces)


def plain(pieces: Iterable[Piece]) -> str:
    """The text without its styles."""
    return "".join(one.text for one in pieces)


def width_of(pieces: Iterable[Piece]) -> int:
    """The terminal columns that it takes."""
    return sum(text_width(one.text) for one in pieces)


def fitted(pieces: Sequence[Piece], width: int) -> Line:
    """Exactly so wide: cut, or filled with blanks in the style of its end."""
    found: list[Piece] = []
    room = max(0, width)
    for piece in pieces:
        text = crop(piece.text, room)
        found.append(Piece(text, piece.style))
        room -= text_width(text)
        if text != piece.text:
            break
    style = found[-1].style if found else ""
    return (*found, Piece(" " * room, style)) if room else tuple(found)


def in_style(pieces: Iterable[Piece], style: str) -> Line:
    """All of it in one style."""
    return tuple(Piece(one.text, style) for one in pieces)


def both_ends(left: Sequence[Piece], right: Sequence[Piece], width: int, fill: str = " ") -> Line:
    """One part at the left and one at the right; the left one gives way."""
    room = width - width_of(right)
    if room < 0:
        return fitted(right, width)
    style = left[-1].style if left else ""
    gap = room - width_of(left)
    if gap > 0:
        return (*left, Piece(fill * gap, style), *right)
    return (*fitted(left, room), *right)


def cell(text: str, width: int, *, right: bool = False) -> str:
    """Text cut and filled to a column's width."""
    return pad(crop(text, width), width, right=right)


def wrapped(text: str, width: int, *, words: bool = False) -> list[str]:
    """Printable text in lines that aren't wider than that; at least one line.

    Args:
        words: break between words, where they aren't too long for that.
    """
    found: list[str] = []
    rest = text
    while text_width(rest) > width:
        end = _fitting(rest, width)
        if words and (blank := rest.rfind(" ", end // 2, end + 1)) > 0:
            end = blank + 1
        found.append(rest[:end].rstrip() if words else rest[:end])
        rest = rest[end:]
    return [*found, rest]


def _fitting(text: str, width: int) -> int:
    """How many characters fit; one at least, even if it is too wide."""
    if text.isascii():
        return max(1, width)
    room, end = width, 0
    while end < len(text) and text_width(text[end]) <= room:
        room -= text_width(text[end])
        end += 1
    return max(1, end)
