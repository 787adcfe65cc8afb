"""Reads commands from a file descriptor: only as many as needed, in bounded memory."""

from __future__ import annotations

import os

from simple_gpu_scheduler.jobs.job import Line
from simple_gpu_scheduler.jobs.validation import (
    BYTE_ORDER_MARK,
    MAX_COMMAND_BYTES,
    find_command_error,
    too_long_error,
)

_CHUNK_BYTES = 1 << 16
_SHOWN_BYTES = 80


class LineSource:
    """Lines (or NUL-separated records) of a descriptor; implements `pipe.ports.Source`.

    It holds about two chunks at most, however many lines there are and however long they are.
    """

    def __init__(self, fd: int, separator: bytes = b"\n") -> None:
        """Nothing is read yet."""
        self._fd = fd
        self._separator = separator
        self._buffer = b""
        self._position = 0
        self._eof = False
        self._taken = 0
        self._dropped_bytes = 0  # of a line that is too long to keep
        self._beginning = b""  # the beginning of that line
        self._is_incomplete = False  # the buffer holds only the beginning of a line

    @property
    def wants_input(self) -> bool:
        """True while less than a chunk is waiting to be taken, or no whole line."""
        waiting_bytes = len(self._buffer) - self._position
        return not self._eof and (self._is_incomplete or waiting_bytes < _CHUNK_BYTES)

    @property
    def at_end(self) -> bool:
        """True once every line was taken and the input has ended."""
        return self._eof and self._position >= len(self._buffer) and not self._dropped_bytes

    @property
    def known(self) -> int:
        """The number of lines read so far, taken or not."""
        complete = self._buffer.count(self._separator, self._position)
        incomplete = not self._buffer.endswith(self._separator) and self._position < len(
            self._buffer
        )
        return self._taken + complete + incomplete

    @property
    def complete(self) -> bool:
        """True once the input has ended: `known` is then the total."""
        return self._eof

    def fill(self) -> None:
        """Read once.

        Raises:
            OSError: The descriptor can't be read.
        """
        try:
            chunk = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:  # another process has read it
            return
        self._eof = not chunk
        self._is_incomplete = False
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0

    def take(self) -> Line | None:
        """The next line without its end; None if no whole line is there yet."""
        end = self._buffer.find(self._separator, self._position)
        if end < 0:
            return self._take_rest()
        command = self._buffer[self._position : end]
        self._position = end + 1
        return self._make_line(command)

    def _take_rest(self) -> Line | None:
        """Take what follows the last separator: the last line, or the beginning of a long one."""
        rest = self._buffer[self._position :]
        if self._eof:
            self._position = len(self._buffer)
            return self._make_line(rest) if rest or self._dropped_bytes else None
        self._is_incomplete = True
        if len(rest) > MAX_COMMAND_BYTES + 1:  # a final \r doesn't belong to the command
            self._beginning = self._beginning or rest[:_SHOWN_BYTES]
            self._dropped_bytes += len(rest)
            self._position = len(self._buffer)
        return None

    def _make_line(self, command: bytes) -> Line:
        self._taken += 1
        if self._taken == 1:
            command = command.removeprefix(BYTE_ORDER_MARK)
        if self._separator == b"\n":
            command = command.removesuffix(b"\r")
        if self._dropped_bytes or len(command) > MAX_COMMAND_BYTES:
            return self._make_long_line(command)
        return Line(self._taken, command, find_command_error(command))

    def _make_long_line(self, command: bytes) -> Line:
        size = len(command) + self._dropped_bytes
        beginning = self._beginning or command[:_SHOWN_BYTES]
        self._dropped_bytes, self._beginning = 0, b""
        return Line(self._taken, beginning, too_long_error(size))
