"""The job log: written and read with the columns of GNU parallel, and their meaning.

Each finished job is a line. Its columns, separated by tabs, are Seq, Host, Starttime (seconds
since 1970), JobRuntime (seconds), Send, Receive, Exitval (-1: timed out), Signal and Command. A
newline within a command is written as NUL, as GNU parallel does. See `--joblog` in parallel(1).
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import BinaryIO

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.named_paths import NamedFile, open_own_file
from simple_gpu_scheduler.files.trust import UnsafeError
from simple_gpu_scheduler.pipe.done_jobs import DoneJobs
from simple_gpu_scheduler.pipe.events import Ended, Event
from simple_gpu_scheduler.system import ofd_lock
from simple_gpu_scheduler.system.fds import write_whole
from simple_gpu_scheduler.system.flock import try_lock
from simple_gpu_scheduler.system.lock_holders import find_lock_owners
from simple_gpu_scheduler.system.users import user_name
from simple_gpu_scheduler.text.printable import shell_word

_HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
_ROW = re.compile(rb"(\d{1,18})\t(?:[^\t]*\t){5}(-?\d+)\t(-?\d+)\t(.*)\n", re.DOTALL)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND


def read_joblog(path: str, *, rerun_failed: bool) -> DoneJobs:
    """Read the jobs of a log: none if there is no log. An incomplete last line is ignored.

    Args:
        path: The file of the log.
        rerun_failed: True if failed jobs are to run again.

    Raises:
        UsageError: The file can't be read, or isn't a job log.
    """
    done = DoneJobs(rerun_failed=rerun_failed)
    try:
        with _open_for_reading(path) as file:
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
        raise _usage_error(path, error) from None
    return done


def _open_for_reading(path: str) -> BinaryIO:
    opened = open_own_file(path, os.O_RDONLY)
    opened.folder.close()
    return os.fdopen(opened.fd, "rb")


def _usage_error(path: str, error: UnsafeError) -> UsageError:
    return UsageError(f"--joblog {path!r} can't be used: {error}; name another file")


def _check_header(path: str, line: bytes) -> None:
    if line != _HEADER:
        raise UsageError(
            f"--joblog {path!r} exists and isn't a job log (its first line is {line[:60]!r}); "
            "name another file"
        )


class Joblog:
    """Implements `pipe.ports.Listener`: appends a row as each job ends, by one write.

    A regular file is locked until it is closed, at the latest by the end of the process. There are
    two locks: one that only a writer of the file can hold (`ofd_lock`), and one of flock(2), for
    versions before. A user who may only read the file can hold the second one, or prevent the
    first one by a read lock. Neither of these keeps us from writing.
    """

    def __init__(self, path: str, *, keep: bool) -> None:
        """Open the log.

        Args:
            path: The file of the log.
            keep: True appends to an earlier log; False renames it to PATH~.

        Raises:
            UsageError: The file can't be written, isn't a job log, or is in use by another
                scheduler.
        """
        self._path = path
        self.others: set[str] = set()  #: users who hold a lock on the file that is ours
        try:
            file = self._open() if keep else self._open_empty()
            file.folder.close()
            self._fd = file.fd
            self._prepare()
        except UnsafeError as error:
            raise _usage_error(path, error) from None
        except OSError as error:
            advice = _advice(path) if isinstance(error, FileNotFoundError) else ""
            text = f"--joblog {path!r} can't be written: {error.strerror}{advice}"
            raise UsageError(text) from None

    def close(self) -> None:
        """Close the log, and so unlock it."""
        os.close(self._fd)

    def _prepare(self) -> None:
        """Write the header, or remove an incomplete last row: a crash or a full disk left it."""
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            write_whole(self._fd, _HEADER)
            return
        first = os.pread(self._fd, 1 << 16, 0).splitlines(keepends=True)[0]
        if _ROW.fullmatch(first) is None:
            _check_header(self._path, first)
        if os.pread(self._fd, 1, status.st_size - 1) != b"\n":
            with os.fdopen(os.dup(self._fd), "rb") as file:
                complete_bytes = sum(len(line) for line in file if line.endswith(b"\n"))
            os.ftruncate(self._fd, complete_bytes)

    def _open_empty(self) -> NamedFile:
        """Open an empty log; an earlier one is renamed to PATH~."""
        file = self._open()
        try:
            status = os.fstat(file.fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
                return file
            _check_header(self._path, os.pread(file.fd, len(_HEADER), 0))
            file.set_aside()
        except BaseException:
            file.close()
            raise
        file.close()
        return self._open()

    def _open(self) -> NamedFile:
        """Open the file and lock it."""
        file = open_own_file(self._path, _FLAGS)
        try:
            if stat.S_ISREG(os.fstat(file.fd).st_mode):
                self._lock(file)
        except BaseException:
            file.close()
            raise
        return file

    def _lock(self, file: NamedFile) -> None:
        """Lock the file; refuse it if another scheduler writes it or has just renamed it."""
        is_ours, has_writer = _lock_as_writer(file.fd)
        is_flocked = try_lock(file.fd)
        owners = set() if is_flocked else find_lock_owners(file.fd)
        if has_writer or os.geteuid() in owners or not file.is_there():
            raise UsageError(
                f"--joblog {self._path!r} is in use by another scheduler; name another file, or "
                "wait until that one has ended (--resume then runs what is missing)"
            )
        if not (is_ours and is_flocked):
            self.others = set(map(user_name, owners)) or {"somebody else"}

    def on_event(self, event: Event) -> None:
        """Append a row for a job, unless it will run again or was aborted.

        Raises:
            SgsError: The row can't be written; the message quotes it.
        """
        if isinstance(event, Ended) and not (event.retry or event.aborted):
            row = joblog_row(event)
            try:
                write_whole(self._fd, row)
            except OSError as error:
                raise _not_logged_error(self._path, row, error.strerror or "") from None


def _lock_as_writer(fd: int) -> tuple[bool, bool]:
    """Try to lock the file; return whether we have the lock, and whether another writer has it."""
    with suppress(OSError):  # the file system has no locks
        return ofd_lock.lock(fd), ofd_lock.is_locked(fd)
    return True, False


def _not_logged_error(path: str, row: bytes, why: str) -> SgsError:
    text = row.decode(errors="replace").rstrip("\n").replace("\t", " ")
    return SgsError(f"--joblog {path!r} can't be written ({why}); not logged is: {text}")


def joblog_row(event: Ended) -> bytes:
    """The line for a job, as GNU parallel writes it."""
    running, exit_ = event.running, event.exit
    exit_code = -1 if running.timed_out else exit_.exit_code or 0
    start = f"{running.job.seq}\t:\t{running.started_wall_s:.3f}\t{event.runtime_s:10.3f}\t0\t0\t"
    command = running.job.command.replace(b"\n", b"\0")
    return f"{start}{exit_code}\t{exit_.signal or 0}\t".encode() + command + b"\n"


def _advice(path: str) -> str:
    folder = os.path.dirname(path)
    return f"; make its folder first: mkdir -p {shell_word(folder)}" if folder else ""
