"""The process behind `stderr_relay`: relays the stderr of jobs, and keeps the end of each.

This file is executed as it is, and imports nothing of the package. The process may outlive the
scheduler: it ends once neither the scheduler nor any job can send more.

Stdin is a socket to the scheduler. A message on it is the number of a job. With the read end of a
pipe, it adds a new job. Without one, it asks for the last output of that job, and forgets the job.
"""

from __future__ import annotations

import os
import resource
import select
import socket
from contextlib import suppress

#: At least so many bytes of each job are kept, as many as `results` reads from a file.
_LAST_BYTES = 1 << 16

_CHUNK_BYTES = 1 << 16

#: The most that a pipe holds, unless root has made it larger (/proc/sys/fs/pipe-max-size).
_LARGEST_PIPE_BYTES = 1 << 20


class _Stream:
    """The stderr of one job."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.end = bytearray()
        self.is_kept = True  #: the scheduler may still ask for `end`
        self.is_open = True

    def relay(self) -> bool:
        """Pass on what is in the pipe now, and not more: a writer may be faster than this process.

        Returns:
            False once the pipe has no writer any more.
        """
        left = _LARGEST_PIPE_BYTES
        while left > 0:
            try:
                data = os.read(self.fd, _CHUNK_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            left -= len(data)
            _pass_on(data)
            if self.is_kept:
                self._keep(data)
        return True

    def forget(self) -> None:
        """Stop keeping the end: the scheduler won't ask for it again."""
        self.is_kept = False
        self.end.clear()

    def _keep(self, data: bytes) -> None:
        self.end += data
        if len(self.end) > 2 * _LAST_BYTES:  # rarely, because it moves the rest
            del self.end[:-_LAST_BYTES]


class _Relay:
    """Serves the scheduler and all its jobs."""

    def __init__(self, scheduler: socket.socket) -> None:
        self._scheduler = scheduler
        self._poll = select.poll()
        self._poll.register(scheduler, select.POLLIN)
        self._streams: dict[bytes, _Stream] = {}
        self._by_fd: dict[int, _Stream] = {}
        self._has_scheduler = True

    def run(self) -> None:
        """Serve until neither the scheduler nor a job can send more."""
        while self._has_scheduler or self._by_fd:
            for fd, _ in self._poll.poll():
                stream = self._by_fd.get(fd)
                if fd == self._scheduler.fileno():
                    self._read_request()
                elif stream is not None:
                    self._relay_stream(stream)

    def _relay_stream(self, stream: _Stream) -> None:
        if stream.is_open and not stream.relay():
            stream.is_open = False
            del self._by_fd[stream.fd]
            self._poll.unregister(stream.fd)
            os.close(stream.fd)

    def _read_request(self) -> None:
        try:
            number, fds, _, _ = socket.recv_fds(self._scheduler, 64, 1)
        except ConnectionResetError:  # killed before it read an answer; its requests still come
            return
        if fds:
            self._add(number, fds[0])
        elif number:
            self._answer(number)
        else:
            self._on_scheduler_end()

    def _on_scheduler_end(self) -> None:
        self._poll.unregister(self._scheduler)
        self._has_scheduler = False
        for stream in self._by_fd.values():
            stream.forget()

    def _add(self, number: bytes, fd: int) -> None:
        os.set_blocking(fd, False)
        self._streams[number] = self._by_fd[fd] = _Stream(fd)
        self._poll.register(fd, select.POLLIN)

    def _answer(self, number: bytes) -> None:
        """Send the end of a job's stderr. It never waits for the scheduler: jobs must go on."""
        stream = self._streams.pop(number, None)
        output = b""
        if stream is not None:
            self._relay_stream(stream)
            output = bytes(stream.end[-_LAST_BYTES:])
            stream.forget()
        with suppress(OSError):
            self._scheduler.send(number + b"\n" + output, socket.MSG_DONTWAIT)


def _pass_on(data: bytes) -> None:
    """Write to stderr, waiting for its reader; if the reader is gone, drop the data."""
    try:
        while data:
            try:
                data = data[os.write(2, data) :]
            except BlockingIOError:
                select.select([], [2], [])
    except OSError:
        return


def main() -> None:
    """Keep only the socket and stderr open, allow many descriptors, and serve."""
    os.closerange(3, 1 << 20)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.chdir("/")
    _Relay(socket.socket(fileno=0)).run()


if __name__ == "__main__":
    main()
