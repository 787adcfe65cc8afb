"""The launcher's program: `python -I -S main.py FOLDER NAME`. It imports nothing of ours.

It is one file, as it runs by its path: it starts fast, needs little memory, and runs on if the
package is upgraded or removed.

It holds a lock on FOLDER/NAME.journal as long as it lives. It writes there what it is about to
start, what runs, and how that ended: each is a line of JSON, in one write. It takes orders from
one server at a time at FOLDER/NAME.sock, and ends once it has neither a server nor a job.

Each attempt is written to the journal before it is started, so that none is ever made twice. An
attempt that isn't in the journal of a dead launcher was never started.
"""

from __future__ import annotations

import errno
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
_UMASK, _SOCKET_UMASK = 0o077, 0o177
_LENGTH = struct.Struct("!I")
_UNLOCKED = struct.pack("hhqqi", fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)  # see `ofd_lock`
_MOST_FDS = 64
#: Descriptors of leases are at least this, so that a script's redirections don't overwrite them.
_LEAST_FD = min(100, os.sysconf("SC_OPEN_MAX") // 2)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_TRY_AGAIN_MS, _PAUSE_S = 1000, 0.05
#: Errors that may pass: no process, memory, descriptor or room is left. The job isn't at fault.
_PASSING = (
    errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG
)  # fmt: skip

#: The server that has started us connects in this time, or was killed.
_UNSERVED_LIMIT_S = 120.0
_DIE_AT = os.environ["SGS_DIE_AT"].split(":", 1) if "SGS_DIE_AT" in os.environ else None
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC

#: We ignore the signals that end processes: only the server ends jobs, not a terminal.
_ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)

#: Ignored signals (the last two by Python). Jobs would inherit that, so they are reset for them.
_IGNORED = (*_ENDING, signal.SIGPIPE, signal.SIGXFSZ)


class _Job:
    """A job that is to be started, or runs."""

    def __init__(self, order: list[Any], lease_fd: int | None) -> None:
        _, self.number, self.attempt, self.command, self.setting, self.lease = order
        self.lease_fd = lease_fd
        self.key = b"%d, %d" % (self.number, self.attempt)  #: in the journal
        self.has_begun = False  #: True if `begins` is in the journal
        self.has_exited = False  #: True if `exits` is in the journal, or waits for room there


class _Orders:
    """The orders of a server: frames of JSON, some with a descriptor."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._data = bytearray()
        self._fds: list[int | None] = []  # None: the kernel had no descriptor left for us

    def read(self) -> bool:
        """Read all data there is; False if the server has closed the connection."""
        try:
            data, fds, flags, _ = socket.recv_fds(self.connection, 1 << 20, _MOST_FDS)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._data += data
        self._fds += [_moved_up(fd) for fd in fds]
        if flags & socket.MSG_CTRUNC:
            self._fds.append(None)
        return bool(data)

    def next(self) -> list[Any] | None:
        """Return the next complete order; None if there is none."""
        if len(self._data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data)
        if len(self._data) < _LENGTH.size + length:
            return None
        frame = bytes(self._data[_LENGTH.size : _LENGTH.size + length])
        del self._data[: _LENGTH.size + length]
        order: list[Any] = json.loads(frame)
        return order

    def take_fd(self) -> int | None:
        """Return the descriptor that came with the order; None if the kernel had none left."""
        return self._fds.pop(0) if self._fds else None

    def close(self) -> None:
        """Close the connection; an incomplete order is ignored."""
        self.connection.close()
        for fd in self._fds:
            if fd is not None:
                os.close(fd)


class Launcher:
    """Starts jobs and waits for them."""

    def __init__(self, folder: str, name: str) -> None:
        base = os.path.join(folder, name)
        self._journal_fd = os.open(f"{base}.journal", _APPEND, 0o600)
        fcntl.flock(self._journal_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _step("locked journal")
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
        self._unserved_until_s = time.monotonic() + _UNSERVED_LIMIT_S
        self._retired = False  # another launcher takes the starts from now on
        self._unwritten = bytearray()  # entries for which the journal has no room
        # Entries for the server that are not in the journal: it is full, or they never began.
        self._to_send: list[bytes] = []
        self._sent = 0  # how many of them this server has

    def run(self) -> None:
        """Serve until there is neither a server nor a job."""
        while self._is_needed():
            has_to_retry = self._unwritten or self._to_send or not self._served
            for fd, _ in self._poll.poll(_TRY_AGAIN_MS if has_to_retry else None):
                if fd == self._wake_fd:
                    self._reap()
                elif fd == self._listening.fileno():
                    self._accept()
                else:
                    self._read_orders()
            if self._unwritten or self._to_send:
                self._retry()
        os.unlink(self._path)

    def _is_needed(self) -> bool:
        if not self._served:
            return time.monotonic() < self._unserved_until_s
        has_server = self._orders is not None and not self._retired
        return bool(self._jobs or self._unwritten or has_server)

    def _accept(self) -> None:
        """Accept a server. The orders of the one before it are carried out."""
        try:
            connection = self._listening.accept()[0]
        except OSError:  # no descriptor or memory is left: the server waits until jobs end
            time.sleep(_PAUSE_S)
            return
        self._orders = _Orders(connection)
        self._orders.connection.setblocking(False)
        self._poll.unregister(self._listening)
        self._poll.register(self._orders.connection, select.POLLIN)
        self._served = True
        self._sent = 0
        _step("served")
        self._report()

    def _read_orders(self) -> None:
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
        try:
            if job.lease_fd is None:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            log_fd = os.open(self._logs % (job.number, job.attempt), _APPEND, 0o600)
            try:
                self._write_begins(job)
                job.has_begun = True
                _step("begins")
                first = _ticks()
                pid = self._spawn(job, job.lease_fd, log_fd)
            finally:
                os.close(log_fd)
        except (OSError, ValueError) as error:
            self._release_lease(job)
            self._report_failed_start(job, error)
            return
        _step("spawned")
        self._jobs[pid] = job
        # This is not reported: the server reads the journal by itself a little after its order.
        facts = b", %d, %d, %d, %.6f" % (pid, first, _ticks(), time.time())
        self._write_entry(b"runs", job, facts)
        _step("runs")

    def _report_failed_start(self, job: _Job, error: OSError | ValueError) -> None:
        """Report that the job can't be started, or can't be started now."""
        why = getattr(error, "strerror", None) or str(error)
        passes = getattr(error, "errno", None) in _PASSING
        kind = b"unbegun" if passes else b"broken"
        facts = b", %s, %.6f" % (json.dumps(why).encode(), time.time())
        if job.has_begun or not passes:
            self._write_entry(kind, job, facts)
        else:  # it isn't in the journal, so the next server knows that it never began
            self._to_send.append(_line(kind, job, facts))
        self._report()

    def _spawn(self, job: _Job, lease_fd: int, log_fd: int) -> int:
        cwd, umask, environ = self._settings[job.setting]
        try:
            os.chdir(cwd)
            os.umask(umask)
            return os.posix_spawn(
                _SHELL,
                (_SHELL, b"-c", os.fsencode(job.command)),
                environ | _variables(job),
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, self._null_fd, 0),
                    (os.POSIX_SPAWN_DUP2, log_fd, 1),
                    (os.POSIX_SPAWN_DUP2, log_fd, 2),
                    # A duplicate onto itself makes the job inherit the descriptor.
                    (os.POSIX_SPAWN_DUP2, lease_fd, lease_fd),
                ),
                setsid=True,
                setsigmask=(),
                setsigdef=_IGNORED,
            )
        finally:
            os.umask(_UMASK)
            os.chdir("/")

    def _reap(self) -> None:
        """Record the ends of children, and reap them.

        `exits` is written before a child is reaped. If we are killed in between, the server
        becomes its parent and can still read its exit status. While the disk is full, no child
        whose `exits` waits for room is reaped.
        """
        with suppress(BlockingIOError):
            os.read(self._wake_fd, 4096)
        ended = False
        while self._jobs and (info := self._ended_child()) is not None:
            job = self._jobs.get(info.si_pid)
            if job is not None:
                code = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
                if not self._write_exits(job, code):
                    continue
            _, _, usage = os.wait4(info.si_pid, 0)
            if job is not None:
                _step("reaped")
                self._end(job, info.si_pid, code, usage)
                ended = True
        if ended:
            self._report()

    def _ended_child(self) -> Any:
        """Return a child that has ended and can be handled now; None if there is none."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if not self._unwritten:
            return os.waitid(os.P_ALL, 0, options)
        for pid, job in self._jobs.items():
            if not job.has_exited and (info := os.waitid(os.P_PID, pid, options)) is not None:
                return info
        return None

    def _write_exits(self, job: _Job, code: int) -> bool:
        """Write that a job has ended; False if there is no room yet."""
        _step("seen")
        if job.has_exited:
            return not self._unwritten
        job.has_exited = True
        written = self._write_entry(b"exits", job, b", %d, %.6f" % (code, time.time()))
        _step("exits")
        if not written:
            self._release_lease(job)
            self._report()
        return written

    def _end(self, job: _Job, pid: int, code: int, usage: Any) -> None:
        del self._jobs[pid]
        used = usage.ru_utime, usage.ru_stime, usage.ru_maxrss // 1024
        facts = b", %d, %.6f, %.3f, %.3f, %d" % (code, time.time(), *used)
        self._write_entry(b"ended", job, facts)
        _step("ended")
        self._release_lease(job)

    def _release_lease(self, job: _Job) -> None:
        """Close the lease. Without a server also end it, as a leftover may hold it open."""
        if job.lease_fd is not None:
            if self._orders is None:
                with suppress(OSError):
                    fcntl.fcntl(job.lease_fd, fcntl.F_OFD_SETLK, _UNLOCKED)
                    fcntl.flock(job.lease_fd, fcntl.LOCK_UN)
            os.close(job.lease_fd)
            job.lease_fd = None

    # the journal

    def _write_entry(self, kind: bytes, job: _Job, facts: bytes) -> bool:
        """Write an entry to the journal; False if it has to wait, as the disk is full."""
        self._unwritten += _line(kind, job, facts)
        if self._write():
            return True
        # The server gets it at once. It need not know that the child isn't reaped yet.
        self._to_send.append(_line(b"ended" if kind == b"exits" else kind, job, facts))
        return False

    def _write_begins(self, job: _Job) -> None:
        """Write that an attempt begins: a whole line, or nothing at all.

        Raises:
            OSError: the disk is full.
        """
        line = _line(b"begins", job)
        written = 0 if self._unwritten else os.write(self._journal_fd, line)
        if written < len(line):
            if written:
                os.ftruncate(self._journal_fd, os.fstat(self._journal_fd).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write(self) -> bool:
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._journal_fd, self._unwritten)]
        except OSError:
            return False
        return True

    def _retry(self) -> None:
        """Write and send what had no room on the disk, or in the server's socket."""
        if self._write():
            self._reap()
        self._report()
        if not self._unwritten and (self._orders is None or self._sent == len(self._to_send)):
            self._to_send, self._sent = [], 0

    def _report(self) -> None:
        """Send the entries that the journal lacks, and a dot: it means that there is news.

        If the socket is full, enough dots wait there, and the server will read the journal.
        """
        if self._orders is None:
            return
        with suppress(OSError):
            for line in self._to_send[self._sent :]:
                self._send(line)
                self._sent += 1
            self._send(b".")

    def _send(self, text: bytes) -> None:
        assert self._orders is not None
        self._orders.connection.send(text, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _line(kind: bytes, job: _Job, facts: bytes = b"") -> bytes:
    """Return an entry of the journal."""
    return b'["%s", %s%s]\n' % (kind, job.key, facts)


def _listen(path: str) -> socket.socket:
    """Listen at the path. The file appears there once we listen."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder, name = os.path.split(path)
    os.chdir(folder)  # the address has room for 107 bytes
    os.umask(_SOCKET_UMASK)
    listening.bind(f"{name}.new")
    os.umask(_UMASK)
    listening.listen()
    os.rename(f"{name}.new", name)
    os.chdir("/")
    return listening


def _variables(job: _Job) -> dict[bytes, bytes]:
    """Return the variables of a job's environment that are not in its setting."""
    number = b"%d" % job.number
    return {
        b"SGS_LEASE": job.lease.encode(),
        b"SGS_JOB": number,
        b"SGS_ATTEMPT": b"%d" % job.attempt,
        b"SGS_SEQ": number,
    }


def _moved_up(fd: int) -> int | None:
    """Move a descriptor to a high number; None if there is none left (ulimit -n)."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD)
    except OSError:
        return None
    finally:
        os.close(fd)


def _ticks() -> int:
    """Return the time since boot by the clock of the kernel's start times (proc(5), stat).

    To read a process's start time there would cost more than everything else at its start.
    """
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S)


def _step(name: str) -> None:
    """Die here if a test wants it: SGS_DIE_AT names a step, and a file to create first."""
    if _DIE_AT is not None and _DIE_AT[0] == name:
        with suppress(FileExistsError):
            os.close(os.open(_DIE_AT[1], os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run as a process of its own: FOLDER NAME."""
    os.umask(_UMASK)
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    folder, name = sys.argv[1:]
    try:
        launcher = Launcher(folder, name)
    except OSError as error:  # there is no room, and the journal would take some of it
        with suppress(OSError):
            os.unlink(os.path.join(folder, f"{name}.journal"))
        sys.exit(f"{time.strftime('%F %T')} {name} can't begin: {error.strerror}")
    launcher.run()


if __name__ == "__main__":
    main()
