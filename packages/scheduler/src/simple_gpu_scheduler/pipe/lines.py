"""Commands from a file descriptor, read lazily and in bounded memory."""

from __future__ import annotations

import os

from simple_gpu_scheduler.jobs.job import Line
from simple_gpu_scheduler.jobs.validation import MAX_COMMAND_BYTES, _too_long, why_no_command

_CHUNK_BYTES = 1 << 16
_SHOWN_BYTES = 80


class LineSource:
    """Lines (or NUL-separated records) of a descriptor; implements `ports.Source`.

    Holds at most about two chunks, however many lines there are and however long one is.
    """

    def __init__(self, fd: int, separator: bytes = b"\n") -> None:
        self._fd = fd
        self._separator = separator
        self._buffer = b""
        self._position = 0
        self._eof = False
        self._taken = 0
        self._dropped_bytes = 0  # of a line too long to keep
        self._beginning = b""  # of that line
        self._torn = False  # what is in the buffer is the beginning of one line

    @property
    def wants_input(self) -> bool:
        """True while less than a chunk is waiting to be taken, or no whole line."""
        waiting = len(self._buffer) - self._position
        return not self._eof and (self._torn or waiting < _CHUNK_BYTES)

    @property
    def at_end(self) -> bool:
        """True once every line was taken and no more can come."""
        return self._eof and self._position >= len(self._buffer) and not self._dropped_bytes

    @property
    def known(self) -> int:
        """Lines seen so far, taken or not."""
        whole = self._buffer.count(self._separator, self._position)
        rest = not self._buffer.endswith(self._separator) and self._position < len(self._buffer)
        return self._taken + whole + rest

    @property
    def complete(self) -> bool:
        """True once the end of the input was seen: `known` is then the total."""
        return self._eof

    def fill(self) -> None:
        """Read once.

        Raises:
            OSError: the descriptor can't be read.
        """
        try:
            chunk = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:  # somebody else read it
            return
        self._eof = not chunk
        self._torn = False
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0

    def take(self) -> Line | None:
        """The next line without its end, or None if no whole line is there yet."""
        end = self._buffer.find(self._separator, self._position)
        if end < 0:
            return self._take_rest()
        command = self._buffer[self._position : end]
        self._position = end + 1
        return self._line(command)

    def _take_rest(self) -> Line | None:
        """What stands after the last separator: the last line, or the start of a longer one."""
        rest = self._buffer[self._position :]
        if self._eof:
            self._position = len(self._buffer)
            return self._line(rest) if rest or self._dropped_bytes else None
        self._torn = True
        if len(rest) > MAX_COMMAND_BYTES + 1:  # a last \r isn't the command's
            self._beginning = self._beginning or rest[:_SHOWN_BYTES]
            self._dropped_bytes += len(rest)
            self._position = len(self._buffer)
        return None

    def _line(self, command: bytes) -> Line:
        self._taken += 1
        if self._separator == b"\n":
            command = command.removesuffix(b"\r")
        if self._dropped_bytes or len(command) > MAX_COMMAND_BYTES:
            return self._long_line(command)
        return Line(self._taken, command, why_no_command(command))

    def _long_line(self, command: bytes) -> Line:
        size = len(command) + self._dropped_bytes
        beginning = self._beginning or command[:_SHOWN_BYTES]
        self._dropped_bytes, self._beginning = 0, b""
        return Line(self._taken, beginning, _too_long(size))
