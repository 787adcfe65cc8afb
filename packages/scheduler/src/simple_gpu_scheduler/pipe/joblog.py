"""GNU parallel's job log: the same columns with the same meaning, both written and read.

One line a finished job, tab-separated: Seq, Host, Starttime (seconds since the epoch), JobRuntime
(seconds), Send, Receive, Exitval (-1: timed out), Signal, Command. A newline within a command is
written as NUL, as GNU parallel does. See `--joblog` in parallel(1).
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from array import array
from contextlib import suppress
from typing import BinaryIO

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.named_paths import NamedFile, open_own_file
from simple_gpu_scheduler.files.trust import UnsafeError
from simple_gpu_scheduler.pipe.events import Ended, Event
from simple_gpu_scheduler.system import ofd_lock
from simple_gpu_scheduler.system.fds import write_whole
from simple_gpu_scheduler.system.flock import lock_alone
from simple_gpu_scheduler.system.lock_holders import lock_owners
from simple_gpu_scheduler.system.users import user_name
from simple_gpu_scheduler.text.printable import shell_word

_HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
_ROW = re.compile(rb"(\d{1,18})\t(?:[^\t]*\t){5}(-?\d+)\t(-?\d+)\t(.*)\n", re.DOTALL)
_UNKNOWN, _SUCCEEDED, _FAILED = range(3)
_PAGE = 1024
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND


class DoneJobs:
    """Which jobs a job log has, in a few bytes each, whatever their numbers."""

    def __init__(self, *, rerun_failed: bool = False) -> None:
        self._rerun_failed = rerun_failed
        self._pages: dict[int, tuple[bytearray, array[int]]] = {}

    def __contains__(self, seq: object) -> bool:
        """True if the job need not run again."""
        if not self._pages or not isinstance(seq, int) or seq // _PAGE not in self._pages:
            return False
        state = self._pages[seq // _PAGE][0][seq % _PAGE]
        return state == _SUCCEEDED or (state == _FAILED and not self._rerun_failed)

    def is_same(self, seq: int, command: bytes) -> bool:
        """True if the log has this very command for the job."""
        return self._pages[seq // _PAGE][1][seq % _PAGE] == _checksum(command)

    def add(self, seq: int, command: bytes, *, ok: bool) -> None:
        """Note a row; the last one of a job counts."""
        page = self._pages.get(seq // _PAGE)
        if page is None:
            page = bytearray(_PAGE), array("I", bytes(4 * _PAGE))
            self._pages[seq // _PAGE] = page
        page[0][seq % _PAGE] = _SUCCEEDED if ok else _FAILED
        page[1][seq % _PAGE] = _checksum(command)


def _checksum(command: bytes) -> int:
    return zlib.crc32(command.replace(b"\n", b"\0"))


def read_joblog(path: str, *, rerun_failed: bool) -> DoneJobs:
    """Jobs that a log has; none if there is no log yet. A torn last line counts as not written.

    Raises:
        UsageError: the file can't be read or isn't a job log.
    """
    done = DoneJobs(rerun_failed=rerun_failed)
    try:
        with _reading(path) as file:
            for number, line in enumerate(file):
                row = _ROW.fullmatch(line)
                if row is not None:
                    done.add(int(row[1]), row[4], ok=int(row[2]) == int(row[3]) == 0)
                elif number == 0:
                    _check_header(path, line)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"--joblog {path!r} can't be read: {error.strerror}") from None
    except UnsafeError as error:
        raise _unsafe(path, error) from None
    return done


def _reading(path: str) -> BinaryIO:
    opened = open_own_file(path, os.O_RDONLY)
    opened.folder.close()
    return os.fdopen(opened.fd, "rb")


def _unsafe(path: str, error: UnsafeError) -> UsageError:
    return UsageError(f"--joblog {path!r} can't be used: {error}; name another file")


def _check_header(path: str, line: bytes) -> None:
    if line != _HEADER:
        raise UsageError(
            f"--joblog {path!r} exists and isn't a job log (its first line is {line[:60]!r}); "
            "name another file"
        )


class Joblog:
    """Implements `ports.Listener`: appends a row as each job ends, by one write.

    A regular file is ours, and is locked until it is closed, which the end of the process does as
    well: by a lock that only who may write it can hold (`ofd_lock`), and by one of flock(2), as
    versions before did. Whoever may read it can have that, or keep us from the first one by a lock
    for reading: neither counts.
    """

    def __init__(self, path: str, *, keep: bool) -> None:
        """Open the log; without `keep` what was there is set aside as PATH~.

        Raises:
            UsageError: the file can't be written, holds something else than a job log, or is
                another scheduler's.
        """
        self._path = path
        self.others: set[str] = set()  #: who has locked it, of whom it isn't
        try:
            opened = self._opened() if keep else self._opened_anew()
            opened.folder.close()
            self._fd = opened.fd
            self._begin()
        except UnsafeError as error:
            raise _unsafe(path, error) from None
        except OSError as error:
            advice = _advice(path) if isinstance(error, FileNotFoundError) else ""
            text = f"--joblog {path!r} can't be written: {error.strerror}{advice}"
            raise UsageError(text) from None

    def close(self) -> None:
        """Leave the log to others."""
        os.close(self._fd)

    def _begin(self) -> None:
        """Write the header, and take away a row that a crash or a full disk has torn."""
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            write_whole(self._fd, _HEADER)
            return
        first = os.pread(self._fd, 1 << 16, 0).splitlines(keepends=True)[0]
        if _ROW.fullmatch(first) is None:
            _check_header(self._path, first)
        if os.pread(self._fd, 1, status.st_size - 1) != b"\n":
            with os.fdopen(os.dup(self._fd), "rb") as file:
                whole = sum(len(line) for line in file if line.endswith(b"\n"))
            os.ftruncate(self._fd, whole)

    def _opened_anew(self) -> NamedFile:
        """An empty log; an earlier one is set aside as PATH~."""
        opened = self._opened()
        try:
            status = os.fstat(opened.fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
                return opened
            _check_header(self._path, os.pread(opened.fd, len(_HEADER), 0))
            opened.set_aside()
        except BaseException:
            opened.close()
            raise
        opened.close()
        return self._opened()

    def _opened(self) -> NamedFile:
        """The file, locked: ours alone."""
        opened = open_own_file(self._path, _FLAGS)
        try:
            if stat.S_ISREG(os.fstat(opened.fd).st_mode):
                self._lock(opened)
        except BaseException:
            opened.close()
            raise
        return opened

    def _lock(self, opened: NamedFile) -> None:
        """Make sure that nobody else writes there, nor has set it aside since we opened it."""
        alone, in_use = _own_lock(opened.fd)
        flocked = lock_alone(opened.fd)
        owners = set() if flocked else lock_owners(opened.fd)
        if in_use or os.geteuid() in owners or not opened.is_there():
            raise UsageError(
                f"--joblog {self._path!r} is in use by another scheduler; name another file, or "
                "wait until that one has ended (--resume then runs what is missing)"
            )
        if not (alone and flocked):
            self.others = set(map(user_name, owners)) or {"somebody else"}

    def on_event(self, event: Event) -> None:
        """Log a job that came to its end; one that will run again or was ended by us has not.

        Raises:
            SgsError: the row can't be written; the message holds it.
        """
        if isinstance(event, Ended) and not (event.retry or event.aborted):
            row = joblog_row(event)
            try:
                write_whole(self._fd, row)
            except OSError as error:
                raise _lost(self._path, row, error.strerror or "") from None


def _own_lock(fd: int) -> tuple[bool, bool]:
    """Take it; returns whether nobody else has a lock there, and whether it is one who writes."""
    with suppress(OSError):  # without locks nobody can know
        return ofd_lock.lock(fd), ofd_lock.is_locked(fd)
    return True, False


def _lost(path: str, row: bytes, why: str) -> SgsError:
    text = row.decode(errors="replace").rstrip("\n").replace("\t", " ")
    return SgsError(f"--joblog {path!r} can't be written ({why}); not logged is: {text}")


def joblog_row(event: Ended) -> bytes:
    """The line for a job, in GNU parallel's form."""
    one, done = event.running, event.exit
    exit_code = -1 if one.timed_out else done.exit_code or 0
    start = f"{one.job.seq}\t:\t{one.started_wall_s:.3f}\t{event.runtime_s:10.3f}\t0\t0\t"
    command = one.job.command.replace(b"\n", b"\0")
    return f"{start}{exit_code}\t{done.signal or 0}\t".encode() + command + b"\n"


def _advice(path: str) -> str:
    folder = os.path.dirname(path)
    return f"; make its folder first: mkdir -p {shell_word(folder)}" if folder else ""
