"""Reads the directory that `simple_gpu_scheduler --results` writes, also while it writes."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import replace

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.folders import Folder, open_folder
from simple_gpu_scheduler.files.named_paths import open_found
from simple_gpu_scheduler.results.file_names import (
    COMMAND,
    RESULT,
    STDERR,
    STDOUT,
    is_job_number,
    job_folder,
)
from simple_gpu_scheduler.results.job import JobResult, parse_job
from simple_gpu_scheduler.results.parsing import has_json_line
from simple_gpu_scheduler.results.writer_lock import writers
from simple_gpu_scheduler.system.flock import is_on_this_machine
from simple_gpu_scheduler.system.lock_holders import find_lock_owners
from simple_gpu_scheduler.text.printable import printable

TAIL_BYTES = 65_536  # how much of the end of an output is searched for metrics
FIRST_TAIL_BYTES = 4_096  # and how much is read first: it mostly has the JSON line
_MOST_BYTES = 1 << 22  # of a result.json or a command; the scheduler writes no longer one


def read_jobs(directory: str) -> list[JobResult]:
    """Read every job of a results directory, in the order of their numbers.

    A job without a result is lost if no scheduler of its owner writes to the directory, neither
    before nor after the reading.

    Raises:
        UsageError: the directory can't be read.
        SgsError: there is no job in it.
    """
    try:
        with open_folder(directory) as folder:
            return _read_jobs(folder)
    except OSError as error:
        shown = printable(directory)
        raise UsageError(f"can't read the results in {shown}: {error.strerror}") from None


def _read_jobs(folder: Folder) -> list[JobResult]:
    before = _writers(folder)
    names = folder.names()
    numbers = sorted(int(name) for name in names if is_job_number(name))
    jobs = [job for seq in numbers if (job := _read_job(folder, seq)) is not None]
    if not jobs:
        raise SgsError(_explain_no_results(folder, names))
    writing = before | _writers(folder)
    locks_are_visible = is_on_this_machine(folder.path)
    return [
        _lost(job)
        if job.state == "running" and locks_are_visible and owner not in writing
        else job
        for job, owner in jobs
    ]


def _writers(folder: Folder) -> set[int]:
    """Return the users whose schedulers write there.

    A user without a mark may run an older version, which locks the directory itself.
    """
    marks = writers(folder)
    return marks.living | (find_lock_owners(folder.fd) - marks.known)


def _lost(job: JobResult) -> JobResult:
    return replace(job, state="lost", status="lost")


def last_error_line(directory: str, seq: int) -> str:
    """Return the last line that a job wrote to stderr; empty if there is none."""
    try:
        with open_folder(directory) as folder, _open_job(folder, seq) as job:
            tail, _ = _tail(job, STDERR, FIRST_TAIL_BYTES)
    except OSError:
        return ""
    return next((line for line in reversed(tail.splitlines()) if line.strip()), "")


def _explain_no_results(folder: Folder, names: list[str]) -> str:
    shown = printable(folder.path)
    message = (
        f"no results in {shown}: expected folders 1, 2, .. as `simple_gpu_scheduler --results "
        f"{shown}` makes them"
    )
    inside = [
        (changed, folder.join(name)) for name in names if (changed := _changed(folder, name))
    ]
    if inside:
        message += f"; did you mean {printable(max(inside)[1])}?"
    return message


def _changed(folder: Folder, name: str) -> float:
    """Return when a results directory was changed last; 0 if the name is no such directory."""
    try:
        fd = open_found(folder, name, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return 0.0
    with Folder(name, fd) as inside:
        return os.fstat(fd).st_mtime if inside.has(job_folder(1)) else 0.0


def _open_job(folder: Folder, seq: int) -> Folder:
    name = job_folder(seq)
    return Folder(folder.join(name), open_found(folder, name, os.O_PATH | os.O_DIRECTORY))


def _read_job(folder: Folder, seq: int) -> tuple[JobResult, int] | None:
    """Read a job's folder, and the user id of its owner; None if it isn't the folder of a job."""
    try:
        job = _open_job(folder, seq)
    except OSError:
        return None
    with job:
        result = _read_ended(job, seq)
        return None if result is None else (result, os.fstat(job.fd).st_uid)


def _read_ended(folder: Folder, seq: int) -> JobResult | None:
    try:
        record = _read(folder, RESULT)
    except FileNotFoundError:
        return _read_running(folder, seq)
    except OSError:
        record = b""
    return parse_job(seq, record.decode("utf-8", "replace"), _output(folder))


def _read_running(folder: Folder, seq: int) -> JobResult | None:
    """Read the folder of a job that has no result yet."""
    command = _command(folder)
    if command is None and not folder.has(STDOUT):
        return None
    return parse_job(seq, None, _output(folder), command)


def _command(folder: Folder) -> str | None:
    """Return a job's command, decoded as in result.json; None if it can't be read."""
    try:
        return os.fsdecode(_read(folder, COMMAND).removesuffix(b"\n"))
    except OSError:
        return None


def _output(folder: Folder) -> str:
    """Return the end of a job's output, long enough for its metrics."""
    output, cut = _tail(folder, STDOUT, FIRST_TAIL_BYTES)
    if cut and not has_json_line(output):
        output, _ = _tail(folder, STDOUT, TAIL_BYTES)
    return output


def _tail(folder: Folder, name: str, limit: int) -> tuple[str, bool]:
    """Return the last whole lines of a file, at most `limit` bytes, and whether it has more.

    A file that can't be read counts as empty.
    """
    try:
        data = _read(folder, name, last=limit + 1)
    except OSError:
        return "", False
    cut = len(data) > limit
    text = data[-limit:].decode("utf-8", "replace")
    if cut:  # the text begins within a line
        end = re.search(r"[\r\n]", text)
        text = text[end.end() :] if end else ""
    return text, cut


def _read(folder: Folder, name: str, last: int | None = None) -> bytes:
    """Return the bytes of a regular file, or the last ones.

    Raises:
        OSError: it can't be read, or it isn't a regular file.
    """
    fd = open_found(folder, name)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if last is None:
            return os.pread(fd, min(status.st_size, _MOST_BYTES), 0)
        return os.pread(fd, last, max(status.st_size - last, 0))
    finally:
        os.close(fd)
