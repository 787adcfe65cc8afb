"""Each job's command, output and end in files: DIR/SEQ/command, stdout, stderr, result.json."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simple_gpu_scheduler.adapters.file_locks import lock_alone
from simple_gpu_scheduler.adapters.output import write_whole
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.job import Job
from simple_gpu_scheduler.model import Ended, Event

_FILES = ("command", "stdout", "stderr", "result.json")


def result_record(event: Ended) -> dict[str, Any]:
    """What is known of an ended attempt, as result.json and the `ended` event have it.

    Undecodable bytes of the command stand as lone surrogates (PEP 383).
    """
    one, done = event.running, event.exit
    return {
        "seq": one.job.seq,
        "command": os.fsdecode(one.job.command),
        "exit_code": done.exit_code,
        "signal": done.signal,
        "timed_out": one.timed_out,
        "aborted": event.aborted,
        "attempt": one.job.attempt,
        "gpus": list(one.gpus),
        "started": round(one.started_wall_s, 3),
        "ended": round(one.started_wall_s + event.runtime_s, 3),
        "runtime_s": round(event.runtime_s, 3),
        "user_s": round(done.user_s, 3),
        "system_s": round(done.system_s, 3),
        "max_rss_mib": round(done.max_rss_mib, 1),
        "vram_mib": one.job.memory_mib,
        "peak_vram_mib": event.peak_vram_mib,
        "other_gpus": list(event.other_gpus),
    }


_LAST_BYTES = 1 << 16


class ResultsDir:
    """Implements `processes.Outputs` and `ports.Listener`. No file is ever overwritten.

    The directory is locked as long as the process lives, so that records of two don't mix, and
    `sgs results` can tell whether jobs without a result may still get one.
    """

    def __init__(self, path: str) -> None:
        """Make the directory, and lock it.

        Raises:
            UsageError: it can't be made or written, or another scheduler writes to it.
        """
        self._path = path
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--results {path!r} can't be made: {error.strerror}") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise UsageError(f"--results {path!r} can't be written: Permission denied")
        self._lock_fd = _lock(path)

    def open(self, job: Job) -> tuple[int, int]:
        """Fresh files for the job's output; earlier ones move to attempt-N.

        Raises:
            SgsError: they can't be had.
        """
        folder = self._folder(job.seq)
        with _explained(folder):
            try:
                os.mkdir(folder)
            except FileExistsError:
                _keep_earlier(folder)
            _write(f"{folder}/command", job.command + b"\n")
            stdout_fd = _create(f"{folder}/stdout")
            try:
                return stdout_fd, _create(f"{folder}/stderr")
            except OSError:
                os.close(stdout_fd)
                raise

    def last_words(self, job: Job) -> bytes:
        """The end of what the job printed, on stderr and stdout."""
        folder = self._folder(job.seq)
        return _end_of(f"{folder}/stderr") + _end_of(f"{folder}/stdout")

    def hear(self, event: Event) -> None:
        """Write how the job ended.

        Raises:
            SgsError: it can't be written; the message says how the job ended.
        """
        if isinstance(event, Ended):
            record = json.dumps(result_record(event))
            folder = self._folder(event.running.job.seq)
            with _explained(folder, f"; not recorded is: {record}"):
                _write(f"{folder}/result.json.new", record.encode() + b"\n")
                os.replace(f"{folder}/result.json.new", f"{folder}/result.json")

    def _folder(self, seq: int) -> str:
        return f"{self._path}/{seq}"


def _lock(path: str) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # one may write there, but not list it
        return None
    if not lock_alone(fd):
        os.close(fd)
        raise UsageError(
            f"--results {path!r} is in use by another scheduler; name another directory, or wait "
            "until that one has ended"
        )
    return fd


@contextmanager
def _explained(folder: str, lost: str = "") -> Iterator[None]:
    """Turn an OSError into the user's error."""
    try:
        yield
    except OSError as error:
        text = f"--results {folder!r} can't be written: {error.strerror}{lost}"
        raise SgsError(text) from None


def _keep_earlier(folder: str) -> None:
    if not any(os.path.exists(f"{folder}/{name}") for name in _FILES):
        return
    number = 1
    while os.path.exists(f"{folder}/attempt-{number}"):
        number += 1
    os.mkdir(f"{folder}/attempt-{number}")
    for name in _FILES:
        if os.path.exists(f"{folder}/{name}"):
            os.rename(f"{folder}/{name}", f"{folder}/attempt-{number}/{name}")


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)


def _end_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
            return file.read(_LAST_BYTES)
    except OSError:
        return b""


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        write_whole(fd, data)
    finally:
        os.close(fd)
