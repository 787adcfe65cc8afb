"""Sleep until something happens to the queue: somebody calls, a launcher tells, leases change."""

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
_NOBODY_ELSE = 0o177
LOOK = b"look"
_CANCEL = b"cancel "
_MOST_BYTES, _MOST_JOBS = 1 << 16, 2000  # of a word
_PATIENCE_S, _SAY_AGAIN_S = 5.0, 0.005
_LONGEST_S = 1_000_000.0
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Mail(NamedTuple):
    """Why the sleep ended."""

    fds: frozenset[int]
    words: frozenset[bytes]
    ended: bool  #: a signal asks us to end
    children: bool  #: some have ended


class Mailbox:
    """The server's ears: its socket, where a word is a datagram, and its signals."""

    def __init__(self, folder: str) -> None:
        """Listen.

        Raises:
            SgsError: the socket can't be had.
        """
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wake_fd, write_fd = os.pipe()
        for fd in (self._wake_fd, write_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in _HEARD:
            signal.signal(number, lambda *_: None)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, SOCKET))
        old_umask = os.umask(_NOBODY_ELSE)
        try:
            with _FolderPath(folder) as path:
                self._socket.bind(f"{path}/{SOCKET}")
        except OSError as error:
            raise SgsError(f"{folder}/{SOCKET} can't be had: {error.strerror}") from None
        finally:
            os.umask(old_umask)
        self._socket.setblocking(False)
        self._listen_to(())

    def sleep(self, timeout_s: float | None, fds: Collection[int]) -> Mail:
        """Sleep until time is up, or one of the descriptors or a signal or a word comes."""
        if list(fds) != self._fds:
            self._listen_to(fds)
        limit_ms = None if timeout_s is None else max(0.0, min(timeout_s, _LONGEST_S)) * 1000
        told = frozenset(fd for fd, _ in self._poll.poll(limit_ms))
        signals = b""
        if self._wake_fd in told:
            with suppress(BlockingIOError):
                signals = os.read(self._wake_fd, 4096)
        words = self._words() if self._socket.fileno() in told else frozenset()
        ended = bool(set(signals) - {signal.SIGCHLD})
        return Mail(told, words, ended, signal.SIGCHLD in signals)

    def _listen_to(self, fds: Collection[int]) -> None:
        self._fds = list(fds)
        self._poll = select.poll()
        for fd in (self._wake_fd, self._socket.fileno(), *fds):
            self._poll.register(fd, select.POLLIN)

    def close(self) -> None:
        """Hear no more: who calls from now on is told that there is no server."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._folder, SOCKET))
        self._socket.close()

    def _words(self) -> frozenset[bytes]:
        words: set[bytes] = set()
        with suppress(BlockingIOError):
            while True:
                words.add(self._socket.recv(_MOST_BYTES))
        return frozenset(words)


class _FolderPath:
    """A short path to a folder: an address has room for 107 bytes."""

    def __init__(self, folder: str) -> None:
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def call(folder: str, word: bytes = LOOK) -> bool:
    """Say a word to the server; False if there is none.

    One that is asleep (was it stopped?) has room for few words. To look once is enough; another
    word is said again for a while, and then it is False, too.
    """
    until_s = time.monotonic() + _PATIENCE_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours, _FolderPath(folder) as path:
        ours.setblocking(False)
        while True:
            try:
                ours.sendto(word, f"{path}/{SOCKET}")
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            except BlockingIOError:
                if word == LOOK:
                    return True
                if time.monotonic() > until_s:
                    return False
                time.sleep(_SAY_AGAIN_S)
                continue
            return True


def to_cancel(jobs: Sequence[int]) -> Iterator[bytes]:
    """The words that have the server cancel jobs, for where that can't be written."""
    for first in range(0, len(jobs), _MOST_JOBS):
        yield _CANCEL + json.dumps(jobs[first : first + _MOST_JOBS]).encode()


def cancelled(words: Iterable[bytes]) -> Iterator[int]:
    """The jobs that these words cancel."""
    for word in words:
        if word.startswith(_CANCEL):
            with suppress(ValueError, TypeError):
                yield from map(int, json.loads(word.removeprefix(_CANCEL)))
