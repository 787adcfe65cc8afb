"""Checks that a command can be passed to a program at all."""

from __future__ import annotations

#: Editors on Windows begin a file of UTF-8 with it. It is no part of the first command.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: The longest argument that Linux takes (MAX_ARG_STRLEN: 32 pages with the final NUL; execve(2)).
MAX_COMMAND_BYTES = 32 * 4096 - 1


def find_command_error(command: bytes) -> str | None:
    """Why a command can't be passed to a program; None if it can."""
    if len(command) > MAX_COMMAND_BYTES:
        return too_long_error(len(command))
    return _NUL_INSIDE if b"\0" in command else None


_NUL_INSIDE = (
    "holds a NUL byte, which no command can; for NUL-separated jobs of several lines use -0/--null"
)


def too_long_error(size: int) -> str:
    """The message for a command of so many bytes."""
    return (
        f"is {size} bytes long; Linux takes {MAX_COMMAND_BYTES} at most in one command: "
        "put it into a script file and name that"
    )
