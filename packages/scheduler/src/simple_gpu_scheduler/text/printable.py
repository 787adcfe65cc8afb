"""Text of others is data: what could steer a terminal, or break a line, is shown escaped."""

from __future__ import annotations

import os

#: Of a format of printf(1), within single quotes.
_PLAIN = frozenset(map(chr, range(32, 127))) - frozenset("'\\%")


def printable(text: str) -> str:
    """One line in which newlines, controls, marks of direction and lone surrogates are escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join([printable(line) for line in text.split("\n")])


def printable_bytes(data: bytes) -> bytes:
    """The same for bytes; those that are no UTF-8 are escaped, too."""
    return printable(data.decode(errors="backslashreplace")).encode()


def shell_word(text: str) -> str:
    """A word for any shell, printable too: odd characters are left to printf(1)."""
    if text.isprintable():
        from shlex import quote  # needs re, which few commands do

        return quote(text)
    codes = (chr(byte) if chr(byte) in _PLAIN else f"\\{byte:03o}" for byte in os.fsencode(text))
    return f"\"$(printf '{''.join(codes)}')\""
