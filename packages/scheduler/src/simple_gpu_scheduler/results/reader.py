"""Reads the directory that `simple_gpu_scheduler --results` writes, while it writes it too."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import replace

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.folders import Folder, open_folder
from simple_gpu_scheduler.files.named_paths import open_found
from simple_gpu_scheduler.results.job import JobResult, parse_job
from simple_gpu_scheduler.results.parsing import has_json_line
from simple_gpu_scheduler.results.writer_lock import writers
from simple_gpu_scheduler.system.flock import is_on_this_machine
from simple_gpu_scheduler.system.lock_holders import find_lock_owners
from simple_gpu_scheduler.text.printable import printable

TAIL_BYTES = 65_536  # how much of the end of an output is searched for metrics
FIRST_TAIL_BYTES = 4_096  # and how much is read first: it mostly has the JSON line
_MOST_BYTES = 1 << 22  # of a record, or a command; a longer one is nobody's


def read_jobs(directory: str) -> list[JobResult]:
    """Read every job of a results directory, in the order of their numbers.

    A job without a result is lost if no scheduler of its owner is there that could still write
    it, neither before nor after the reading.

    Raises:
        UsageError: the directory can't be read.
        SgsError: no job is in it.
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
    numbers = sorted(int(name) for name in names if _is_job_number(name))
    found = [one for seq in numbers if (one := _read_job(folder, seq)) is not None]
    if not found:
        raise SgsError(_nothing_there(folder, names))
    writing = before | _writers(folder)
    known = is_on_this_machine(folder.path)
    return [
        _lost(job) if job.state == "running" and known and owner not in writing else job
        for job, owner in found
    ]


def _writers(folder: Folder) -> set[int]:
    """The users whose schedulers write there.

    Of whom there is no mark, it may be one of a version that has locked the directory.
    """
    marks = writers(folder)
    return marks.living | (find_lock_owners(folder.fd) - marks.known)


def _lost(job: JobResult) -> JobResult:
    return replace(job, state="lost", status="lost")


def last_words(directory: str, seq: int) -> str:
    """Return the last line that a job wrote to stderr; empty if there is none."""
    try:
        with open_folder(directory) as folder, _open_job(folder, seq) as job:
            tail, _ = _tail(job, "stderr", FIRST_TAIL_BYTES)
    except OSError:
        return ""
    return next((line for line in reversed(tail.splitlines()) if line.strip()), "")


def _is_job_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and name[0] != "0" and len(name) < 19


def _nothing_there(folder: Folder, names: list[str]) -> str:
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
    """When a directory of results was changed last; 0 if it is none."""
    try:
        fd = open_found(folder, name, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return 0.0
    with Folder(name, fd) as inside:
        return os.fstat(fd).st_mtime if inside.has("1") else 0.0


def _open_job(folder: Folder, seq: int) -> Folder:
    return Folder(folder.join(str(seq)), open_found(folder, str(seq), os.O_PATH | os.O_DIRECTORY))


def _read_job(folder: Folder, seq: int) -> tuple[JobResult, int] | None:
    """Read a job's folder, and whose it is; None if it is not one."""
    try:
        job = _open_job(folder, seq)
    except OSError:
        return None
    with job:
        read = _read_ended(job, seq)
        return None if read is None else (read, os.fstat(job.fd).st_uid)


def _read_ended(folder: Folder, seq: int) -> JobResult | None:
    try:
        record = _read(folder, "result.json")
    except FileNotFoundError:
        return _read_running(folder, seq)
    except OSError:
        record = b""
    return parse_job(seq, record.decode("utf-8", "replace"), _output(folder))


def _read_running(folder: Folder, seq: int) -> JobResult | None:
    """Read the folder of a job that has no result yet."""
    command = _command(folder)
    if command is None and not folder.has("stdout"):
        return None
    return parse_job(seq, None, _output(folder), command)


def _command(folder: Folder) -> str | None:
    """Return a job's command, decoded as in result.json; None if it can't be read."""
    try:
        return os.fsdecode(_read(folder, "command").removesuffix(b"\n"))
    except OSError:
        return None


def _output(folder: Folder) -> str:
    """Return the end of a job's output, long enough for its metrics."""
    output, cut = _tail(folder, "stdout", FIRST_TAIL_BYTES)
    if cut and not has_json_line(output):
        output, _ = _tail(folder, "stdout", TAIL_BYTES)
    return output


def _tail(folder: Folder, name: str, limit: int) -> tuple[str, bool]:
    """Return the last whole lines of a file, within so many bytes, and whether it has more.

    A file that can't be read is an empty one.
    """
    try:
        data = _read(folder, name, last=limit + 1)
    except OSError:
        return "", False
    cut = len(data) > limit
    text = data[-limit:].decode("utf-8", "replace")
    if cut:  # what comes first is the end of a line
        end = re.search(r"[\r\n]", text)
        text = text[end.end() :] if end else ""
    return text, cut


def _read(folder: Folder, name: str, last: int | None = None) -> bytes:
    """Return the bytes of a regular file, or so many of its last."""
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
