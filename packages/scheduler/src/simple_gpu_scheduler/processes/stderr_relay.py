"""The last words of jobs whose stderr passes through, so that "out of memory" is heard.

Such a job has a pipe for its stderr, and one process for all of them carries that on; see
`stderr_relay_main`. It is no thread of ours, as the jobs outlive a scheduler that is killed, and
would then die of SIGPIPE. It starts with the first job that needs it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.processes.tree import RUN_VARIABLE, SEQ_VARIABLE
from simple_gpu_scheduler.processes.wait import ENDING

_PROGRAM = str(Path(__file__).with_name("stderr_relay_main.py"))

#: How long an answer may take: it is late only where nobody reads our stderr.
_PATIENCE_S = 5.0

_MOST_BYTES = 1 << 17  # of an answer


class StderrRelay:
    """Carries jobs' stderr to ours."""

    def __init__(self, environ: Mapping[bytes, bytes]) -> None:
        """Nothing is started yet."""
        ours = (RUN_VARIABLE, SEQ_VARIABLE, LEASE_VARIABLE.encode())  # it belongs to no job
        self._environ = {name: value for name, value in environ.items() if name not in ours}
        self._fd: int | None = None  # of our end of the socket, open as long as we live
        self._number = 0
        self._late = b""  # the number of which the answer is still to come

    def open(self) -> tuple[int, int]:
        """A job's number here and the descriptor for its stderr; the caller closes that.

        Raises:
            OSError: it can't be had.
        """
        self._number += 1
        read_fd, write_fd = os.pipe()
        try:
            self._send_pipe(read_fd)
        except BaseException:
            os.close(write_fd)
            raise
        finally:
            os.close(read_fd)
        return self._number, write_fd

    def last_words(self, number: int) -> bytes:
        """The end of what the job wrote, once all of that is passed on; to be asked once.

        Empty if nobody can tell: somebody killed the process, or nobody reads our stderr.
        """
        if self._fd is None:
            return b""
        try:
            os.write(self._fd, b"%d" % number)
            return self._answer(self._fd, b"%d" % number)
        except OSError:
            self._give_up()
            return b""

    def _send_pipe(self, read_fd: int) -> None:
        name = b"%d" % self._number
        if self._fd is not None:
            with suppress(BrokenPipeError, ConnectionResetError):
                _send(self._fd, name, read_fd)
                return
            self._give_up()
        self._fd = _start(self._environ)
        _send(self._fd, name, read_fd)

    def _answer(self, fd: int, number: bytes) -> bytes:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while poll.poll(0 if self._late else _PATIENCE_S * 1000):
            answer = os.read(fd, _MOST_BYTES)
            if not answer:
                raise BrokenPipeError
            whose, _, words = answer.partition(b"\n")
            if whose in (number, self._late):
                self._late = b""
            if whose == number:
                return words
        self._late = number
        return b""

    def _give_up(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._late = b""


def _send(fd: int, name: bytes, read_fd: int) -> None:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fd)
    try:
        socket.send_fds(one, [name], [read_fd])
    finally:
        one.detach()


def _start(environ: Mapping[bytes, bytes]) -> int:
    """Start the process; returns our end of its socket.

    The signals that end a run are blocked in it, as it has to serve the jobs until they are gone.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", _PROGRAM],
            environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=True,
            setsigmask=ENDING,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)  # where it hears nothing, a start fails and is tried again
    return ours.detach()
