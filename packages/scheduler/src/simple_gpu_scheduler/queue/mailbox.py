"""The server's sleep: it ends with a message, a signal, a launcher's news, or changed leases.

A message is a datagram to the socket `server.sock`: `look`, `stop`, or `cancel` with job numbers.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from simple_gpu_scheduler.errors import SgsError

SOCKET = "server.sock"
_OURS_ALONE = 0o177
LOOK = b"look"
_CANCEL = b"cancel "
_MOST_BYTES, _MOST_JOBS = 1 << 16, 2000  # of a message
_PATIENCE_S, _SEND_AGAIN_S = 5.0, 0.005
_LONGEST_S = 1_000_000.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Mail(NamedTuple):
    """Why the sleep ended."""

    fds: frozenset[int]  #: descriptors that can be read
    messages: frozenset[bytes]
    ended: bool  #: a signal asks the server to end
    children: bool  #: child processes have ended


class Mailbox:
    """Receives the server's messages and signals."""

    def __init__(self, folder: str) -> None:
        """Listen at the folder's socket.

        Raises:
            SgsError: the socket can't be made.
        """
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wake_fd, write_fd = os.pipe()
        for fd in (self._wake_fd, write_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, SOCKET))
        old_umask = os.umask(_OURS_ALONE)
        try:
            with _FolderPath(folder) as path:
                self._socket.bind(f"{path}/{SOCKET}")
        except OSError as error:
            raise SgsError(f"{folder}/{SOCKET} can't be made: {error.strerror}") from None
        finally:
            os.umask(old_umask)
        self._socket.setblocking(False)
        self._listen_to(())

    def sleep(self, timeout_s: float | None, fds: Collection[int]) -> Mail:
        """Sleep until time is up, a descriptor can be read, or a signal or message comes."""
        if list(fds) != self._fds:
            self._listen_to(fds)
        limit_ms = None if timeout_s is None else max(0.0, min(timeout_s, _LONGEST_S)) * 1000
        ready = frozenset(fd for fd, _ in self._poll.poll(limit_ms))
        signals = b""
        if self._wake_fd in ready:
            with suppress(BlockingIOError):
                signals = os.read(self._wake_fd, 4096)
        messages = self._messages() if self._socket.fileno() in ready else frozenset()
        ended = bool(set(signals) - {signal.SIGCHLD})
        return Mail(ready, messages, ended, signal.SIGCHLD in signals)

    def _listen_to(self, fds: Collection[int]) -> None:
        self._fds = list(fds)
        self._poll = select.poll()
        for fd in (self._wake_fd, self._socket.fileno(), *fds):
            self._poll.register(fd, select.POLLIN)

    def close(self) -> None:
        """Remove the socket: from now on, senders learn that there is no server."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._folder, SOCKET))
        self._socket.close()

    def _messages(self) -> frozenset[bytes]:
        messages: set[bytes] = set()
        with suppress(BlockingIOError):
            while True:
                messages.add(self._socket.recv(_MOST_BYTES))
        return frozenset(messages)


class _FolderPath:
    """A short path to a folder: a socket's address has room for 107 bytes."""

    def __init__(self, folder: str) -> None:
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def call(folder: str, message: bytes = LOOK) -> bool:
    """Send a message to the server; False if it wasn't received.

    A server that was stopped (SIGSTOP) has room for few messages. If there is no room for `look`,
    an earlier one is enough. Any other message is sent again for a few seconds.
    """
    until_s = time.monotonic() + _PATIENCE_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours, _FolderPath(folder) as path:
        ours.setblocking(False)
        while True:
            try:
                ours.sendto(message, f"{path}/{SOCKET}")
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            except BlockingIOError:
                if message == LOOK:
                    return True
                if time.monotonic() > until_s:
                    return False
                time.sleep(_SEND_AGAIN_S)
                continue
            return True


def to_cancel(jobs: Sequence[int]) -> Iterator[bytes]:
    """The messages that have the server cancel jobs, for a disk that is too full to write it."""
    for first in range(0, len(jobs), _MOST_JOBS):
        yield _CANCEL + json.dumps(jobs[first : first + _MOST_JOBS]).encode()


def cancelled(messages: Iterable[bytes]) -> Iterator[int]:
    """The jobs that these messages cancel."""
    for message in messages:
        if message.startswith(_CANCEL):
            with suppress(ValueError, TypeError):
                yield from map(int, json.loads(message.removeprefix(_CANCEL)))
