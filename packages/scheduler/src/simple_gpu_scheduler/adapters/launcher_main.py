"""The process that starts the queue's jobs and sees how they end, whatever becomes of the server.

A file to be executed, which imports nothing of ours: FOLDER NAME. It holds FOLDER/NAME.journal
locked as long as it lives, and writes there what it is about to start, what runs, and how that
ended, each as a line of JSON in one write. It takes orders from one server at a time, at
FOLDER/NAME.sock, and ends once it has neither a server nor a job. A start is written down before
it is made, so that no attempt is ever made twice; what a dead launcher's journal doesn't have was
never started.
"""

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
from contextlib import suppress
from typing import Any

_SHELL = "/bin/sh"
_OURS_ALONE = 0o077
_LENGTH = struct.Struct("!I")
_LEAST_FD = 100
_MOST_FDS = 64
_TRY_AGAIN_MS = 1000
_DIE_AT = os.environ["SGS_DIE_AT"].split(":", 1) if "SGS_DIE_AT" in os.environ else None
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC

#: The server decides about these, not a terminal.
_ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)

#: We ignore these (the last two, Python does), and a spawned child would inherit that.
_IGNORED = (*_ENDING, signal.SIGPIPE, signal.SIGXFSZ)


class _Job:
    """A job that is to run, or does."""

    def __init__(self, order: list[Any], lease_fd: int) -> None:
        _, self.number, self.attempt, self.command, self.setting, self.lease = order
        self.lease_fd = lease_fd
        self.named = b"%d, %d" % (self.number, self.attempt)  #: in the journal


class _Orders:
    """What comes from a server: frames of JSON, some with a descriptor."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._data = bytearray()
        self._fds: list[int] = []

    def read(self) -> bool:
        """Read what is there; False at the end."""
        try:
            data, fds, _, _ = socket.recv_fds(self.connection, 1 << 20, _MOST_FDS)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._data += data
        self._fds += [_high(fd) for fd in fds]
        return bool(data)

    def next(self) -> list[Any] | None:
        """The next whole frame; None if there is none."""
        if len(self._data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data)
        if len(self._data) < _LENGTH.size + length:
            return None
        frame = bytes(self._data[_LENGTH.size : _LENGTH.size + length])
        del self._data[: _LENGTH.size + length]
        order: list[Any] = json.loads(frame)
        return order

    def take_fd(self) -> int:
        """The descriptor that came with the frame."""
        return self._fds.pop(0)

    def close(self) -> None:
        """The server is gone: a frame that is not whole is none."""
        self.connection.close()
        for fd in self._fds:
            os.close(fd)


class Launcher:
    """Starts jobs and waits for them."""

    def __init__(self, folder: str, name: str) -> None:
        base = os.path.join(folder, name)
        self._journal_fd = os.open(f"{base}.journal", _APPEND, 0o600)
        fcntl.flock(self._journal_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._path = f"{base}.sock"
        self._listening = _listen(self._path)
        self._wake_fd, write_fd = os.pipe()
        for fd in (self._wake_fd, write_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._null_fd = os.open(os.devnull, os.O_RDONLY)
        self._orders: _Orders | None = None
        self._settings: dict[int, tuple[bytes, int, dict[bytes, bytes]]] = {}
        self._logs = os.fsencode(os.path.join(folder, "logs")).replace(b"%", b"%%") + b"/%d.%d.log"
        self._jobs: dict[int, _Job] = {}
        self._poll = select.poll()
        self._poll.register(self._listening, select.POLLIN)
        self._poll.register(self._wake_fd, select.POLLIN)
        self._served = False
        self._retired = False  # another one takes the starts from now on
        self._unwritten = bytearray()  # of the journal: the disk is full
        self._delayed: list[_Job] = []  # starts, meanwhile

    def run(self) -> None:
        """Until nobody needs us."""
        while self._is_needed():
            for fd, _ in self._poll.poll(_TRY_AGAIN_MS if self._unwritten else None):
                if fd == self._wake_fd:
                    self._reap()
                elif fd == self._listening.fileno():
                    self._welcome()
                else:
                    self._heed()
            if self._unwritten:
                self._catch_up()
        os.unlink(self._path)

    def _is_needed(self) -> bool:
        has_server = self._orders is not None and not self._retired
        return bool(self._jobs or self._unwritten or has_server or not self._served)

    def _welcome(self) -> None:
        """Listen to a server, once we have done what the one before it asked for."""
        self._orders = _Orders(self._listening.accept()[0])
        self._orders.connection.setblocking(False)
        self._poll.unregister(self._listening)
        self._poll.register(self._orders.connection, select.POLLIN)
        self._served = True
        self._tell()

    def _heed(self) -> None:
        orders = self._orders
        if orders is None:
            return
        alive = orders.read()
        while (order := orders.next()) is not None:
            if order[0] == "start":
                self._start(_Job(order, orders.take_fd()))
            elif order[0] == "set":
                _, number, cwd, umask, environ = order
                encoded = {os.fsencode(name): os.fsencode(value) for name, value in environ}
                self._settings[number] = os.fsencode(cwd), umask, encoded
            else:
                self._retired = True
        if not alive:
            self._poll.unregister(orders.connection)
            orders.close()
            self._orders = None
            self._poll.register(self._listening, select.POLLIN)

    def _start(self, job: _Job) -> None:
        _step("told")
        if self._unwritten or not self._note(b"begins", job):
            self._delayed.append(job)
            return
        _step("begins")
        try:
            pid = self._spawn(job)
        except (OSError, ValueError) as error:
            self._let_go(job)
            why = getattr(error, "strerror", None) or str(error)
            self._note(b"broken", job, b", %s, %.6f" % (json.dumps(why).encode(), time.time()))
            self._tell()
            return
        _step("spawned")
        self._jobs[pid] = job  # the server will look by itself
        self._note(b"runs", job, b", %d, %d, %.6f" % (pid, _start_ticks(pid), time.time()))
        _step("runs")

    def _spawn(self, job: _Job) -> int:
        cwd, umask, environ = self._settings[job.setting]
        log_fd = os.open(self._logs % (job.number, job.attempt), _APPEND, 0o600)
        os.umask(umask)
        try:
            os.chdir(cwd)
            return os.posix_spawn(
                _SHELL,
                (_SHELL, b"-c", os.fsencode(job.command)),
                environ | _about(job),
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, self._null_fd, 0),
                    (os.POSIX_SPAWN_DUP2, log_fd, 1),
                    (os.POSIX_SPAWN_DUP2, log_fd, 2),
                    # Onto itself: that makes the job inherit it.
                    (os.POSIX_SPAWN_DUP2, job.lease_fd, job.lease_fd),
                ),
                setsid=True,
                setsigmask=(),
                setsigdef=_IGNORED,
            )
        finally:
            os.close(log_fd)
            os.umask(_OURS_ALONE)
            os.chdir("/")

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_fd, 4096)
        ended = False
        while self._jobs:
            # How it ended is written down before it is forgotten by the kernel: if we are killed
            # in between, the server becomes its parent and sees it, too.
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if seen is None:
                break
            job = self._jobs.get(seen.si_pid)
            if job is not None:
                code = seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status
                _step("seen")
                self._note(b"exits", job, b", %d, %.6f" % (code, time.time()))
                _step("exits")
            _, _, usage = os.wait4(seen.si_pid, 0)
            if job is not None:
                _step("reaped")
                self._end(job, seen.si_pid, code, usage)
                ended = True
        if ended:
            self._tell()

    def _end(self, job: _Job, pid: int, code: int, usage: Any) -> None:
        del self._jobs[pid]
        used = usage.ru_utime, usage.ru_stime, usage.ru_maxrss // 1024
        self._note(b"ended", job, b", %d, %.6f, %.3f, %.3f, %d" % (code, time.time(), *used))
        _step("ended")
        self._let_go(job)

    def _let_go(self, job: _Job) -> None:
        """Give up the lease; without a server nobody else would end it for a stray child."""
        if self._orders is None:
            with suppress(OSError):
                fcntl.flock(job.lease_fd, fcntl.LOCK_UN)
        os.close(job.lease_fd)

    def _note(self, what: bytes, job: _Job, facts: bytes = b"") -> bool:
        """Write a line of JSON; False if it is still to be written, the disk being full."""
        self._unwritten += b'["%s", %s%s]\n' % (what, job.named, facts)
        return self._write()

    def _write(self) -> bool:
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._journal_fd, self._unwritten)]
        except OSError:
            return False
        return True

    def _catch_up(self) -> None:
        """There may be room on the disk again; a delayed start may stand there already."""
        if self._write():
            delayed, self._delayed = self._delayed, []
            for job in delayed:
                self._start(job)
            self._tell()

    def _tell(self) -> None:
        """That there is news in the journal; a server that has enough of that unread will look."""
        if self._orders is not None:
            with suppress(OSError):
                self._orders.connection.send(b".", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _listen(path: str) -> socket.socket:
    """Listen at the path, which is there once we do."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder, name = os.path.split(path)
    os.chdir(folder)  # the address has room for 107 bytes
    listening.bind(f"{name}.new")
    listening.listen()
    os.rename(f"{name}.new", name)
    os.chdir("/")
    return listening


def _about(job: _Job) -> dict[bytes, bytes]:
    """What a job's environment has beside its setting."""
    number = b"%d" % job.number
    return {
        b"SGS_LEASE": job.lease.encode(),
        b"SGS_JOB": number,
        b"SGS_ATTEMPT": b"%d" % job.attempt,
        b"SGS_SEQ": number,
    }


def _high(fd: int) -> int:
    """The descriptor under a number that no redirection of a script is in the way of."""
    high_fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD)
    os.close(fd)
    return high_fd


def _start_ticks(pid: int) -> int:
    """When it started, since boot; 0 if it is gone already."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    return int(text[text.rindex(b")") + 2 :].split()[19])


def _step(name: str) -> None:
    """Where a test may want us to die: SGS_DIE_AT is the name and a file that says we have."""
    if _DIE_AT is not None and _DIE_AT[0] == name:
        with suppress(FileExistsError):
            os.close(os.open(_DIE_AT[1], os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run as a process of its own."""
    os.umask(_OURS_ALONE)
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    Launcher(sys.argv[1], sys.argv[2]).run()


if __name__ == "__main__":
    main()
