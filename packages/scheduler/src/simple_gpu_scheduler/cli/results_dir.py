"""Reads the directory that `simple_gpu_scheduler --results` writes, while it writes it too."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace

from simple_gpu_scheduler.adapters.file_locks import is_locked
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.printable import printable
from simple_gpu_scheduler.results.job import Job, parse_job
from simple_gpu_scheduler.results.values import has_json_line

TAIL_BYTES = 65_536  # how much of the end of an output is searched for metrics
FIRST_TAIL_BYTES = 4_096  # and how much is read first: it mostly has the JSON line


def read_jobs(directory: str) -> list[Job]:
    """Read every job of a results directory, in the order of their numbers.

    A job without a result is lost if no scheduler is there that could still write it, neither
    before nor after the reading.

    Raises:
        UsageError: the directory can't be read.
        SgsError: no job is in it.
    """
    abandoned = is_locked(directory) is False
    try:
        names = os.listdir(directory)
    except OSError as error:
        shown = printable(directory)
        raise UsageError(f"can't read the results in {shown}: {error.strerror}") from None
    numbers = sorted(int(name) for name in names if _is_job_number(name))
    jobs = [job for seq in numbers if (job := _read_job(directory, seq)) is not None]
    if not jobs:
        raise SgsError(_nothing_there(directory, names))
    if abandoned and is_locked(directory) is False:
        return [_lost(job) if job.state == "running" else job for job in jobs]
    return jobs


def _lost(job: Job) -> Job:
    return replace(job, state="lost", status="lost")


def last_words(directory: str, seq: int) -> str:
    """Return the last line that a job wrote to stderr; empty if there is none."""
    tail, _ = _tail(f"{directory}/{seq}/stderr", FIRST_TAIL_BYTES)
    return next((line for line in reversed(tail.splitlines()) if line.strip()), "")


def _is_job_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and name[0] != "0" and len(name) < 19


def _nothing_there(directory: str, names: list[str]) -> str:
    shown = printable(directory)
    message = (
        f"no results in {shown}: expected folders 1, 2, .. as `simple_gpu_scheduler --results "
        f"{shown}` makes them"
    )
    paths = [os.path.join(directory, name) for name in names]
    inside = [path for path in paths if os.path.isdir(os.path.join(path, "1"))]
    if inside:
        newest = max(inside, key=lambda path: (os.stat(path).st_mtime, path))
        message += f"; did you mean {printable(newest)}?"
    return message


def _read_job(directory: str, seq: int) -> Job | None:
    """Read a job's folder; None if it is not one."""
    folder = f"{directory}/{seq}"
    try:
        record = _read(f"{folder}/result.json")
    except FileNotFoundError:
        return _read_running(folder, seq)
    except NotADirectoryError:
        return None
    except OSError:
        record = b""
    return parse_job(seq, record.decode("utf-8", "replace"), _output(folder))


def _read_running(folder: str, seq: int) -> Job | None:
    """Read the folder of a job that has no result yet."""
    command = _command(folder)
    if command is None and not os.path.exists(f"{folder}/stdout"):
        return None
    return parse_job(seq, None, _output(folder), command)


def _command(folder: str) -> str | None:
    """Return a job's command, decoded as in result.json; None if it can't be read."""
    try:
        return os.fsdecode(_read(f"{folder}/command").removesuffix(b"\n"))
    except OSError:
        return None


def _output(folder: str) -> str:
    """Return the end of a job's output, long enough for its metrics."""
    output, cut = _tail(f"{folder}/stdout", FIRST_TAIL_BYTES)
    if cut and not has_json_line(output):
        output, _ = _tail(f"{folder}/stdout", TAIL_BYTES)
    return output


def _tail(path: str, limit: int) -> tuple[str, bool]:
    """Return the last whole lines of a file, within so many bytes, and whether it has more.

    A file that can't be read is an empty one.
    """
    try:
        data = _read(path, limit + 1)
    except OSError:
        return "", False
    cut = len(data) > limit
    text = data[-limit:].decode("utf-8", "replace")
    if cut:  # what comes first is the end of a line
        end = re.search(r"[\r\n]", text)
        text = text[end.end() :] if end else ""
    return text, cut


def _read(path: str, limit: int | None = None) -> bytes:
    """Return the bytes of a regular file, or so many of its last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        if limit is None:
            return file.read()
        file.seek(max(status.st_size - limit, 0))
        return file.read(limit)
