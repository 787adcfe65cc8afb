"""The process behind `stderr_relay`: carries jobs' stderr on to ours, and keeps the end of each.

A file to be executed, which imports nothing of ours. It outlives the scheduler: stdin is a socket
to that one, and the process ends once neither the scheduler nor any job can send more.

What comes on the socket is a number, with the read end of a pipe where it is a new job; without
one, it asks for that job's last words, and the job is forgotten.
"""

from __future__ import annotations

import os
import resource
import select
import socket
from contextlib import suppress

#: Of each job, so many bytes at least are known, as `results` reads them from a file.
_LAST_BYTES = 1 << 16

_CHUNK_BYTES = 1 << 16

#: No pipe holds more, unless root made it (/proc/sys/fs/pipe-max-size).
_LARGEST_PIPE_BYTES = 1 << 20


class _Stream:
    """The stderr of one job."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.end = bytearray()
        self.kept = True  #: the end of it; until somebody has asked
        self.open = True

    def carry(self) -> bool:
        """Carry on what is in the pipe now, and not more: a writer may be faster than we are.

        False once there can be no more.
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
            if self.kept:
                self._keep(data)
        return True

    def forget(self) -> None:
        """Nobody will ask again."""
        self.kept = False
        self.end.clear()

    def _keep(self, data: bytes) -> None:
        self.end += data
        if len(self.end) > 2 * _LAST_BYTES:  # rarely, as it moves the rest
            del self.end[:-_LAST_BYTES]


class _Relay:
    def __init__(self, scheduler: socket.socket) -> None:
        self._scheduler = scheduler
        self._poll = select.poll()
        self._poll.register(scheduler, select.POLLIN)
        self._streams: dict[bytes, _Stream] = {}
        self._by_fd: dict[int, _Stream] = {}
        self._heard = True

    def run(self) -> None:
        """Until nobody is left who could send something."""
        while self._heard or self._by_fd:
            for fd, _ in self._poll.poll():
                stream = self._by_fd.get(fd)
                if fd == self._scheduler.fileno():
                    self._hear()
                elif stream is not None:
                    self._carry(stream)

    def _carry(self, stream: _Stream) -> None:
        if stream.open and not stream.carry():
            stream.open = False
            del self._by_fd[stream.fd]
            self._poll.unregister(stream.fd)
            os.close(stream.fd)

    def _hear(self) -> None:
        try:
            number, fds, _, _ = socket.recv_fds(self._scheduler, 64, 1)
        except ConnectionResetError:  # it was killed with an answer unread; what it said is there
            return
        if fds:
            self._add(number, fds[0])
        elif number:
            self._answer(number)
        else:
            self._scheduler_is_gone()

    def _scheduler_is_gone(self) -> None:
        self._poll.unregister(self._scheduler)
        self._heard = False
        for stream in self._by_fd.values():
            stream.forget()

    def _add(self, number: bytes, fd: int) -> None:
        os.set_blocking(fd, False)
        self._streams[number] = self._by_fd[fd] = _Stream(fd)
        self._poll.register(fd, select.POLLIN)

    def _answer(self, number: bytes) -> None:
        """Never waits: a scheduler that doesn't listen must not hold up the jobs."""
        stream = self._streams.pop(number, None)
        words = b""
        if stream is not None:
            self._carry(stream)
            words = bytes(stream.end[-_LAST_BYTES:])
            stream.forget()
        with suppress(OSError):
            self._scheduler.send(number + b"\n" + words, socket.MSG_DONTWAIT)


def _pass_on(data: bytes) -> None:
    """To stderr, waiting for its reader; where that is gone, the jobs go on nevertheless."""
    try:
        while data:
            try:
                data = data[os.write(2, data) :]
            except BlockingIOError:
                select.select([], [2], [])
    except OSError:
        return


def main() -> None:
    """Hold nothing but the socket and stderr, and have room for many jobs; then do it."""
    os.closerange(3, 1 << 20)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.chdir("/")
    _Relay(socket.socket(fileno=0)).run()


if __name__ == "__main__":
    main()
