"""Text of others is data: what could steer a terminal, or break a line, is shown escaped."""

from __future__ import annotations


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
