"""The server's side of a launcher: sends orders through its socket, and reads its journal."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Hashable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.folders import open_folder
from simple_gpu_scheduler.queue.journal import JournalEntry, read_entries
from simple_gpu_scheduler.queue.records import Context
from simple_gpu_scheduler.system import failpoints
from simple_gpu_scheduler.system.fds import wait_readable
from simple_gpu_scheduler.system.flock import is_held

_PROGRAM = str(Path(__file__).with_name("main.py"))
_LENGTH = struct.Struct("!I")
_JOURNAL, _SOCKET = ".journal", ".sock"
_START_LIMIT_S = 30.0
_SEND_LIMIT_S = 5.0
_PATIENCE_S = 5.0
_POLL_S = 0.005


class LauncherClient:
    """A living launcher that takes orders from us."""

    def __init__(self, folder: str, name: str, pid: int | None) -> None:
        """Connect, and wait until it has carried out the orders of the server before us.

        It has done so once it `answers`. A launcher that was stopped (SIGSTOP) answers only after
        SIGCONT; we don't wait for that.

        Args:
            folder: the queue's.
            name: of its journal and socket.
            pid: of a child of ours; None if an earlier server has started it.

        Raises:
            SgsError: it has ended, or can't be reached.
        """
        self._folder = folder
        self.name = name
        self.pid = pid
        self.jobs = 0  #: the number of jobs that we have ordered
        try:
            self.journal = Journal(folder, name)
        except OSError as error:
            raise _unreachable(folder, name, error) from None
        self._socket = _connect(folder, name)
        self._settings: dict[Hashable, int] = {}  # the numbers of settings that it knows
        self._hung_up = False
        self._incomplete = b""  # the beginning of an entry that came through the socket
        limit_s = _START_LIMIT_S if pid else _PATIENCE_S
        # Its first byte comes once it has done all that it was told before.
        self.answers = bool(wait_readable([self._socket.fileno()], limit_s))
        if pid and not self.answers:
            raise SgsError(f"the launcher {name} in {folder} doesn't answer")

    @property
    def wake_fd(self) -> int:
        """A descriptor that can be read when there is news, or the launcher is gone."""
        return self._socket.fileno()

    @property
    def settings(self) -> int:
        """The number of settings that it has to remember."""
        return len(self._settings)

    def set(self, key: Hashable, context: Context, environ: Mapping[bytes, bytes]) -> int:
        """Send a setting (where jobs run) unless the launcher knows it; returns its number.

        Raises:
            OSError: it is gone, or doesn't read.
        """
        number = self._settings.get(key)
        if number is None:
            number = self._settings[key] = len(self._settings)
            variables = [
                [os.fsdecode(name), os.fsdecode(value)] for name, value in environ.items()
            ]
            self._send(["set", number, os.fsdecode(context.cwd), context.umask, variables])
        return number

    def start(
        self, job: int, attempt: int, command: bytes, setting: int, lease: str, lease_fd: int
    ) -> None:
        """Order the start of an attempt.

        Args:
            setting: the number that `set` has returned.
            lease: the id of the lease.
            lease_fd: the descriptor of the lease, which the job inherits.

        Raises:
            OSError: it is gone, or doesn't read. Its journal says whether it has the order.
        """
        self.jobs += 1
        self._send(["start", job, attempt, os.fsdecode(command), setting, lease], lease_fd)

    def retire(self) -> None:
        """Let it end after its last job."""
        with suppress(OSError):
            self._send(["retire"])

    def reconnect(self) -> None:
        """Connect anew to a launcher that doesn't read, and retire it.

        Once it answers again, its journal says which of our orders it has carried out.

        Raises:
            SgsError: it is gone.
        """
        connection = _connect(self._folder, self.name)
        self._socket.close()  # the launcher ignores an incomplete order
        self._socket, self._incomplete = connection, b""
        self.answers = False
        self.retire()

    def news(self) -> list[JournalEntry]:
        """Return the entries since the last call, also those that the journal has no room for."""
        data = b""
        try:
            data = self._socket.recv(1 << 16)
            self._hung_up = self._hung_up or not data
            self.answers = self.answers or bool(data)
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self._hung_up = True
        return [*self.journal.read(), *self._entries_in(data)]

    def _entries_in(self, data: bytes) -> list[JournalEntry]:
        """Return the entries that came through the socket.

        Mostly there are only dots: each says that there is news in the journal.
        """
        if not self._incomplete and not data.strip(b"."):
            return []
        *lines, incomplete = (line.lstrip(b".") for line in (self._incomplete + data).split(b"\n"))
        self._incomplete = incomplete
        return read_entries(b"".join(line + b"\n" for line in lines))[0]

    def is_gone(self) -> bool:
        """True if it has ended. One more call of `news` then returns its last entries."""
        return self._hung_up and not self.journal.is_held()

    def close(self) -> None:
        """Close the connection; the journal stays open."""
        self._socket.close()

    def _send(self, order: list[Any], fd: int | None = None) -> None:
        frame = json.dumps(order).encode()
        data = _LENGTH.pack(len(frame)) + frame
        fds = [] if fd is None else [fd]
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        while data:
            try:
                data = data[socket.send_fds(self._socket, [data], fds) :]
                fds = []
            except BlockingIOError:
                if not poll.poll(_SEND_LIMIT_S * 1000):
                    raise TimeoutError(110, "it doesn't listen (was it stopped?)") from None


class Journal:
    """The journal of a launcher that lives or lived."""

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self._path = os.path.join(folder, name)
        self._fd = os.open(self._path + _JOURNAL, os.O_RDONLY | os.O_CLOEXEC)
        self._incomplete = b""

    def read(self) -> list[JournalEntry]:
        """Return the entries since the last call."""
        data = self._incomplete
        while more := os.read(self._fd, 1 << 16):
            data += more
        entries, self._incomplete = read_entries(data)
        return entries

    def read_all(self) -> list[JournalEntry]:
        """Return all entries."""
        data = b""
        while more := os.pread(self._fd, 1 << 20, len(data)):
            data += more
        return read_entries(data)[0]

    def is_held(self) -> bool:
        """True if the launcher lives."""
        held = is_held(self._fd)
        if not held:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        return held

    def close(self) -> None:
        """Close the journal."""
        os.close(self._fd)

    def remove(self) -> None:
        """Remove the files of a dead launcher, once all its entries are in the queue's file."""
        for ending in (_SOCKET, _JOURNAL):  # the journal last, as `journals` finds nothing else
            with suppress(OSError):
                os.unlink(self._path + ending)


def journals(folder: str) -> list[Journal]:
    """Return the journals of all launchers, living or dead."""
    names = [name.removesuffix(_JOURNAL) for name in os.listdir(folder) if name.endswith(_JOURNAL)]
    return [Journal(folder, name) for name in sorted(names)]


def start_launcher(folder: str) -> LauncherClient:
    """Start a launcher, and connect to it.

    Raises:
        SgsError: it can't be started, or doesn't answer.
    """
    name = f"{os.getpid()}-{time.time_ns():x}"
    log = os.path.join(folder, "launcher.log")
    try:
        pid = _spawn(folder, name, log)
    except OSError as error:
        why = error.strerror
        raise SgsError(f"the process that starts jobs can't be started ({why})") from None
    failpoints.step("launching")
    try:
        _wait_for(os.path.join(folder, name + _SOCKET), pid, log)
        return LauncherClient(folder, name, pid)
    except SgsError:
        os.kill(pid, signal.SIGKILL)  # it wasn't reaped, so the number is still its own
        raise


def _spawn(folder: str, name: str, log: str) -> int:
    test_environ = {key: os.environ[key] for key in (failpoints.VARIABLE,) if key in os.environ}
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", _PROGRAM, folder, name],
        {"PATH": os.defpath, "LANG": "C.UTF-8", **test_environ},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _wait_for(path: str, pid: int, log: str) -> None:
    """Wait until the launcher listens at the path.

    Raises:
        SgsError: it ends, or takes too long.
    """
    until_s = time.monotonic() + _START_LIMIT_S
    while not os.path.exists(path):
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended or time.monotonic() > until_s:
            raise SgsError(f"the process that starts jobs doesn't come up; see {log}")
        time.sleep(_POLL_S)


def _connect(folder: str, name: str) -> socket.socket:
    with ExitStack() as unless_connected:
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            unless_connected.callback(connection.close)
            connection.setblocking(False)
            with open_folder(folder) as directory:
                connection.connect(f"/proc/self/fd/{directory.fd}/{name}{_SOCKET}")
        except OSError as error:
            raise _unreachable(folder, name, error) from None
        unless_connected.pop_all()
        return connection


def _unreachable(folder: str, name: str, error: OSError) -> SgsError:
    return SgsError(f"the launcher {name} in {folder} can't be reached: {error.strerror}")
