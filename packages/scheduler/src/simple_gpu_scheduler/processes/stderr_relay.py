"""Keeps the last stderr output of jobs, which may say "out of memory".

The stderr of such a job is a pipe. One process relays the pipes of all jobs to our stderr (see
`stderr_relay_main`). It is not a thread: jobs outlive a scheduler that is killed, and would then
die of SIGPIPE. The process starts with the first job that needs it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.processes.tree import RUN_VARIABLE, SEQ_VARIABLE
from simple_gpu_scheduler.processes.wait import ENDING
from simple_gpu_scheduler.system.fds import wait_readable

_PROGRAM = str(Path(__file__).with_name("stderr_relay_main.py"))

#: The longest wait for an answer: it is late only if nobody reads our stderr.
_PATIENCE_S = 5.0

_MOST_BYTES = 1 << 17  # of an answer


class StderrRelay:
    """Relays the stderr of jobs to that of the scheduler."""

    def __init__(self, environ: Mapping[bytes, bytes]) -> None:
        """Nothing is started yet; `environ` is the environment of the jobs."""
        job_variables = (RUN_VARIABLE, SEQ_VARIABLE, LEASE_VARIABLE.encode())
        # The process belongs to no job.
        self._environ = {
            name: value for name, value in environ.items() if name not in job_variables
        }
        self._fd: int | None = None  # our end of the socket, open until this program ends
        self._number = 0
        self._late = b""  # the number whose answer is still to come

    def open(self) -> tuple[int, int]:
        """Return a number for a job, and a descriptor for its stderr, which the caller closes.

        Raises:
            OSError: There is no descriptor left, or the process can't be started.
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
        """Return the end of what a job wrote, once all of it is passed on. Call it once for a job.

        It is empty if it can't be known: the process was killed, or nobody reads our stderr.
        """
        if self._fd is None:
            return b""
        try:
            os.write(self._fd, b"%d" % number)
            return self._read_answer(self._fd, b"%d" % number)
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

    def _read_answer(self, fd: int, number: bytes) -> bytes:
        while wait_readable([fd], 0 if self._late else _PATIENCE_S):
            answer = os.read(fd, _MOST_BYTES)
            if not answer:
                raise BrokenPipeError
            answered, _, output = answer.partition(b"\n")
            if answered in (number, self._late):
                self._late = b""
            if answered == number:
                return output
        self._late = number
        return b""

    def _give_up(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._late = b""


def _send(fd: int, name: bytes, read_fd: int) -> None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fd)
    try:
        socket.send_fds(connection, [name], [read_fd])
    finally:
        connection.detach()


def _start(environ: Mapping[bytes, bytes]) -> int:
    """Start the process; return our end of its socket.

    The signals that end a run are blocked in it, because it serves the jobs until they are gone.
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
    ours.setblocking(False)  # if it doesn't read, starting a job fails and is tried again
    return ours.detach()
