"""Escapes text of others before it is shown: it must not control a terminal or break a line."""

from __future__ import annotations

import os

#: Characters that mean themselves in a format of printf(1), within single quotes.
_PLAIN = frozenset(map(chr, range(32, 127))) - frozenset("'\\%")


def printable(text: str) -> str:
    """Return text as one line: newlines, control and direction marks, lone surrogates escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Escape each line of a text; the lines stay lines."""
    return "\n".join([printable(line) for line in text.split("\n")])


def printable_bytes(data: bytes) -> bytes:
    """Escape bytes; those that are not UTF-8 are escaped, too."""
    return printable(data.decode(errors="backslashreplace")).encode()


def shell_word(text: str) -> str:
    """Quote text as one printable word for any shell; printf(1) makes unprintable characters."""
    if text.isprintable():
        from shlex import quote  # imports re, which few commands need

        return quote(text)
    codes = (chr(byte) if chr(byte) in _PLAIN else f"\\{byte:03o}" for byte in os.fsencode(text))
    return f"\"$(printf '{''.join(codes)}')\""
