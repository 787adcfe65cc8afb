"""The server's side of a launcher: orders go through its socket, news come from its journal."""

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
_LOOK_AGAIN_S = 0.005


class LauncherClient:
    """A launcher that lives, and takes orders from us."""

    def __init__(self, folder: str, name: str, pid: int | None) -> None:
        """Become its server; waits until it has done what the server before us asked for.

        That is known once it `answers`; one that was stopped does so only when it goes on.

        Args:
            pid: of a child of ours; None for one that an earlier server has started.

        Raises:
            SgsError: it has ended, or can't be reached.
        """
        self._folder = folder
        self.name = name
        self.pid = pid
        self.jobs = 0  #: that we have told it to start
        try:
            self.journal = Journal(folder, name)
        except OSError as error:
            raise _unreachable(folder, name, error) from None
        self._socket = _connect(folder, name)
        self._settings: dict[Hashable, int] = {}  # that it knows, by numbers
        self._hung_up = False
        self._rest = b""  # of a note that it tells
        limit_s = _START_LIMIT_S if pid else _PATIENCE_S
        # Its first byte comes once it has done all that it was told before.
        self.answers = bool(wait_readable([self._socket.fileno()], limit_s))
        if pid and not self.answers:
            raise SgsError(f"the launcher {name} in {folder} doesn't answer")

    @property
    def wake_fd(self) -> int:
        """Readable when there is news in the journal, or it is gone."""
        return self._socket.fileno()

    @property
    def settings(self) -> int:
        """How many it has to remember."""
        return len(self._settings)

    def set(self, key: Hashable, context: Context, environ: Mapping[bytes, bytes]) -> int:
        """Tell it where jobs run, unless it knows that; returns the number of the setting.

        Raises:
            OSError: it is gone.
        """
        number = self._settings.get(key)
        if number is None:
            number = self._settings[key] = len(self._settings)
            texts = [[os.fsdecode(name), os.fsdecode(value)] for name, value in environ.items()]
            self._send(["set", number, os.fsdecode(context.cwd), context.umask, texts])
        return number

    def start(
        self, job: int, attempt: int, command: bytes, setting: int, lease: str, lease_fd: int
    ) -> None:
        """Tell it to start a job.

        Raises:
            OSError: it is gone; whether it has heard that, its journal tells.
        """
        self.jobs += 1
        self._send(["start", job, attempt, os.fsdecode(command), setting, lease], lease_fd)

    def retire(self) -> None:
        """Have it end once its jobs have."""
        with suppress(OSError):
            self._send(["retire"])

    def reconnect(self) -> None:
        """It doesn't listen: whether it has heard the last orders it will say when it answers.

        Raises:
            SgsError: it is gone.
        """
        again = _connect(self._folder, self.name)
        self._socket.close()  # what isn't a whole order there is none
        self._socket, self._rest = again, b""
        self.answers = False
        self.retire()

    def news(self) -> list[JournalEntry]:
        """What was written down since the last time, or had no room to be."""
        told = b""
        try:
            told = self._socket.recv(1 << 16)
            self._hung_up = self._hung_up or not told
            self.answers = self.answers or bool(told)
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self._hung_up = True
        return [*self.journal.read(), *self._said(told)]

    def _said(self, told: bytes) -> list[JournalEntry]:
        """The notes in what it told; mostly there are but dots, for news in the journal."""
        if not self._rest and not told.strip(b"."):
            return []
        *lines, rest = (one.lstrip(b".") for one in (self._rest + told).split(b"\n"))
        self._rest = rest
        return read_entries(b"".join(line + b"\n" for line in lines))[0]

    def is_gone(self) -> bool:
        """True if it has ended; then `news` once more tells all that it knew."""
        return self._hung_up and not self.journal.is_held()

    def close(self) -> None:
        """Say nothing more to it; its journal stays open."""
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
    """What a launcher writes, living or dead."""

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self._path = os.path.join(folder, name)
        self._fd = os.open(self._path + _JOURNAL, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""

    def read(self) -> list[JournalEntry]:
        """What is new."""
        data = self._rest
        while more := os.read(self._fd, 1 << 16):
            data += more
        notes, self._rest = read_entries(data)
        return notes

    def read_all(self) -> list[JournalEntry]:
        """All, from the beginning."""
        data = b""
        while more := os.pread(self._fd, 1 << 20, len(data)):
            data += more
        return read_entries(data)[0]

    def is_held(self) -> bool:
        """True as long as the launcher lives."""
        held = is_held(self._fd)
        if not held:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        return held

    def close(self) -> None:
        """Look no more."""
        os.close(self._fd)

    def remove(self) -> None:
        """All that it told is in the database."""
        for ending in (_SOCKET, _JOURNAL):  # what is found again is the last to go
            with suppress(OSError):
                os.unlink(self._path + ending)


def journals(folder: str) -> list[Journal]:
    """Of all launchers that there are or were."""
    names = [name.removesuffix(_JOURNAL) for name in os.listdir(folder) if name.endswith(_JOURNAL)]
    return [Journal(folder, name) for name in sorted(names)]


def start_launcher(folder: str) -> LauncherClient:
    """Start a launcher.

    Raises:
        SgsError: it doesn't come up.
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
        os.kill(pid, signal.SIGKILL)  # nobody has waited for it: the number is still its own
        raise


def _spawn(folder: str, name: str, log: str) -> int:
    chosen = {one: os.environ[one] for one in (failpoints.VARIABLE,) if one in os.environ}
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", _PROGRAM, folder, name],
        {"PATH": os.defpath, "LANG": "C.UTF-8", **chosen},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _wait_for(path: str, pid: int, log: str) -> None:
    """Until the launcher listens there."""
    until_s = time.monotonic() + _START_LIMIT_S
    while not os.path.exists(path):
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended or time.monotonic() > until_s:
            raise SgsError(f"the process that starts jobs doesn't come up; see {log}")
        time.sleep(_LOOK_AGAIN_S)


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
