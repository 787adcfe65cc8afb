"""The process that starts the queue's jobs and sees how they end, whatever becomes of the server.

A file to be executed, which imports nothing of ours: FOLDER NAME. It holds FOLDER/NAME.journal
locked as long as it lives, and writes there what it is about to start, what runs, and how that
ended, each as a line of JSON in one write. It takes orders from one server at a time, at
FOLDER/NAME.sock, and ends once it has neither a server nor a job. A start is written down before
it is made, so that no attempt is ever made twice; what a dead launcher's journal doesn't have was
never started.
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
_OURS_ALONE, _SOCKET_OURS_ALONE = 0o077, 0o177
_LENGTH = struct.Struct("!I")
_UNLOCKED = struct.pack("hhqqi", fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)  # see `ofd_lock`
_MOST_FDS = 64
#: Leases are above, where no redirection of a script is in their way, and what else we need below.
_LEAST_FD = min(100, os.sysconf("SC_OPEN_MAX") // 2)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_TRY_AGAIN_MS, _PAUSE_S = 1000, 0.05
#: There is no process, memory, descriptor, or room on the disk: nothing is wrong with the job.
_PASSING = (
    errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG
)  # fmt: skip

#: Who has started us will come by then, or was killed.
_UNSERVED_LIMIT_S = 120.0
_DIE_AT = os.environ["SGS_DIE_AT"].split(":", 1) if "SGS_DIE_AT" in os.environ else None
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC

#: The server decides about these, not a terminal.
_ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)

#: We ignore these (the last two, Python does), and a spawned child would inherit that.
_IGNORED = (*_ENDING, signal.SIGPIPE, signal.SIGXFSZ)


class _Job:
    """A job that is to run, or does."""

    def __init__(self, order: list[Any], lease_fd: int | None) -> None:
        _, self.number, self.attempt, self.command, self.setting, self.lease = order
        self.lease_fd = lease_fd
        self.named = b"%d, %d" % (self.number, self.attempt)  #: in the journal
        self.promised = False  #: that it begins stands in the journal
        self.seen = False  #: it has ended, and that stands in the journal, or is to


class _Orders:
    """What comes from a server: frames of JSON, some with a descriptor."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._data = bytearray()
        self._fds: list[int | None] = []  # None: the kernel had none left for us

    def read(self) -> bool:
        """Read what is there; False at the end."""
        try:
            data, fds, flags, _ = socket.recv_fds(self.connection, 1 << 20, _MOST_FDS)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._data += data
        self._fds += [_high(fd) for fd in fds]
        if flags & socket.MSG_CTRUNC:
            self._fds.append(None)
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

    def take_fd(self) -> int | None:
        """The descriptor that came with the frame; None if there was none left for it."""
        return self._fds.pop(0) if self._fds else None

    def close(self) -> None:
        """The server is gone: a frame that is not whole is none."""
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
        self._retired = False  # another one takes the starts from now on
        self._unwritten = bytearray()  # of the journal: the disk is full
        self._to_say: list[bytes] = []  # the same, and what never was begun, for the server
        self._said = 0  # how many of them it was told

    def run(self) -> None:
        """Until nobody needs us."""
        while self._is_needed():
            looks_again = self._unwritten or self._to_say or not self._served
            for fd, _ in self._poll.poll(_TRY_AGAIN_MS if looks_again else None):
                if fd == self._wake_fd:
                    self._reap()
                elif fd == self._listening.fileno():
                    self._welcome()
                else:
                    self._on_signal()
            if self._unwritten or self._to_say:
                self._catch_up()
        os.unlink(self._path)

    def _is_needed(self) -> bool:
        if not self._served:
            return time.monotonic() < self._unserved_until_s
        has_server = self._orders is not None and not self._retired
        return bool(self._jobs or self._unwritten or has_server)

    def _welcome(self) -> None:
        """Listen to a server, once we have done what the one before it asked for."""
        try:
            connection = self._listening.accept()[0]
        except OSError:  # no descriptor or memory is left: it waits, and those who run may end
            time.sleep(_PAUSE_S)
            return
        self._orders = _Orders(connection)
        self._orders.connection.setblocking(False)
        self._poll.unregister(self._listening)
        self._poll.register(self._orders.connection, select.POLLIN)
        self._served = True
        self._said = 0
        _step("served")
        self._tell()

    def _on_signal(self) -> None:
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
                self._promise(job)
                job.promised = True
                _step("begins")
                first = _ticks()
                pid = self._spawn(job, job.lease_fd, log_fd)
            finally:
                os.close(log_fd)
        except (OSError, ValueError) as error:
            self._let_go(job)
            self._could_not_start(job, error)
            return
        _step("spawned")
        self._jobs[pid] = job  # the server will look by itself
        self._note(b"runs", job, b", %d, %d, %d, %.6f" % (pid, first, _ticks(), time.time()))
        _step("runs")

    def _could_not_start(self, job: _Job, error: OSError | ValueError) -> None:
        """The job is at fault, or there is no room now: then the server will try again."""
        why = getattr(error, "strerror", None) or str(error)
        passes = getattr(error, "errno", None) in _PASSING
        what = b"unbegun" if passes else b"broken"
        facts = b", %s, %.6f" % (json.dumps(why).encode(), time.time())
        if job.promised or not passes:
            self._note(what, job, facts)
        else:  # of what the journal doesn't have every server knows that it never began
            self._to_say.append(_line(what, job, facts))
        self._tell()

    def _spawn(self, job: _Job, lease_fd: int, log_fd: int) -> int:
        cwd, umask, environ = self._settings[job.setting]
        try:
            os.chdir(cwd)
            os.umask(umask)
            return os.posix_spawn(
                _SHELL,
                (_SHELL, b"-c", os.fsencode(job.command)),
                environ | _about(job),
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, self._null_fd, 0),
                    (os.POSIX_SPAWN_DUP2, log_fd, 1),
                    (os.POSIX_SPAWN_DUP2, log_fd, 2),
                    # Onto itself: that makes the job inherit it.
                    (os.POSIX_SPAWN_DUP2, lease_fd, lease_fd),
                ),
                setsid=True,
                setsigmask=(),
                setsigdef=_IGNORED,
            )
        finally:
            os.umask(_OURS_ALONE)
            os.chdir("/")

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_fd, 4096)
        ended = False
        while self._jobs and (seen := self._ended_child()) is not None:
            # How it ended is written down before it is forgotten by the kernel: if we are killed
            # in between, the server becomes its parent and sees it, too. A full disk has time.
            job = self._jobs.get(seen.si_pid)
            if job is not None:
                code = seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status
                if not self._see(job, code):
                    continue
            _, _, usage = os.wait4(seen.si_pid, 0)
            if job is not None:
                _step("reaped")
                self._end(job, seen.si_pid, code, usage)
                ended = True
        if ended:
            self._tell()

    def _ended_child(self) -> Any:
        """One that has ended, of those that we haven't seen if we can't wait for them yet."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if not self._unwritten:
            return os.waitid(os.P_ALL, 0, how)
        found = (os.waitid(os.P_PID, pid, how) for pid, job in self._jobs.items() if not job.seen)
        return next((one for one in found if one is not None), None)

    def _see(self, job: _Job, code: int) -> bool:
        """It has ended; False if that is still to be written down."""
        _step("seen")
        if job.seen:
            return not self._unwritten
        job.seen = True
        written = self._note(b"exits", job, b", %d, %.6f" % (code, time.time()))
        _step("exits")
        if not written:
            self._let_go(job)
            self._tell()
        return written

    def _end(self, job: _Job, pid: int, code: int, usage: Any) -> None:
        del self._jobs[pid]
        used = usage.ru_utime, usage.ru_stime, usage.ru_maxrss // 1024
        self._note(b"ended", job, b", %d, %.6f, %.3f, %.3f, %d" % (code, time.time(), *used))
        _step("ended")
        self._let_go(job)

    def _let_go(self, job: _Job) -> None:
        """Give up the lease; without a server nobody else would end it for a stray child."""
        if job.lease_fd is not None:
            if self._orders is None:
                with suppress(OSError):
                    fcntl.fcntl(job.lease_fd, fcntl.F_OFD_SETLK, _UNLOCKED)
                    fcntl.flock(job.lease_fd, fcntl.LOCK_UN)
            os.close(job.lease_fd)
            job.lease_fd = None

    def _note(self, what: bytes, job: _Job, facts: bytes = b"") -> bool:
        """Write a line of JSON; False if it is still to be written, the disk being full."""
        self._unwritten += _line(what, job, facts)
        if self._write():
            return True
        # The server is told at once; it need not know what is still to be reaped.
        self._to_say.append(_line(b"ended" if what == b"exits" else what, job, facts))
        return False

    def _promise(self, job: _Job) -> None:
        """Write down that it begins, or nothing at all.

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

    def _catch_up(self) -> None:
        """There may be room on the disk again, and in what the server has yet to read."""
        if self._write():
            self._reap()
        self._tell()
        if not self._unwritten and (self._orders is None or self._said == len(self._to_say)):
            self._to_say, self._said = [], 0

    def _tell(self) -> None:
        """That there is news in the journal; a server that has enough of that unread will look.

        What the journal has no room for it is told itself.
        """
        if self._orders is None:
            return
        with suppress(OSError):
            for line in self._to_say[self._said :]:
                self._say(line)
                self._said += 1
            self._say(b".")

    def _say(self, text: bytes) -> None:
        assert self._orders is not None
        self._orders.connection.send(text, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _line(what: bytes, job: _Job, facts: bytes = b"") -> bytes:
    return b'["%s", %s%s]\n' % (what, job.named, facts)


def _listen(path: str) -> socket.socket:
    """Listen at the path, which is there once we do."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder, name = os.path.split(path)
    os.chdir(folder)  # the address has room for 107 bytes
    os.umask(_SOCKET_OURS_ALONE)
    listening.bind(f"{name}.new")
    os.umask(_OURS_ALONE)
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


def _high(fd: int) -> int | None:
    """The descriptor under a high number; None if there is none left, and it is closed."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD)
    except OSError:  # so many are allowed (ulimit -n)
        return None
    finally:
        os.close(fd)


def _ticks() -> int:
    """The clock by which the kernel says when a process was started (proc(5), stat): to look there
    would cost more than all else that we do, just as the process is being made.
    """
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S)


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
    folder, name = sys.argv[1:]
    try:
        launcher = Launcher(folder, name)
    except OSError as error:  # no room: what we have made would take of it, too
        with suppress(OSError):
            os.unlink(os.path.join(folder, f"{name}.journal"))
        sys.exit(f"{time.strftime('%F %T')} {name} can't begin: {error.strerror}")
    launcher.run()


if __name__ == "__main__":
    main()
