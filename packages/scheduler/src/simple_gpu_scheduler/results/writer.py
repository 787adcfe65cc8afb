"""Writes each job's command, output and result into a results directory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from simple_gpu_scheduler.errors import HopelessError, SgsError, UsageError
from simple_gpu_scheduler.files.creation import make_folder
from simple_gpu_scheduler.files.folders import Folder
from simple_gpu_scheduler.files.named_paths import open_found, open_named, open_own_child
from simple_gpu_scheduler.files.trust import UnsafeError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.pipe.events import Ended, Event, Rejected
from simple_gpu_scheduler.pipe.json_events import result_record
from simple_gpu_scheduler.results.file_names import (
    COMMAND,
    JOB_FILES,
    RESULT,
    STDERR,
    STDOUT,
    attempt_folder,
    job_folder,
)
from simple_gpu_scheduler.results.writer_lock import Mark, writers
from simple_gpu_scheduler.system.fds import write_whole
from simple_gpu_scheduler.system.flock import try_lock
from simple_gpu_scheduler.system.lock_holders import find_lock_owners
from simple_gpu_scheduler.system.users import user_name

_LAST_BYTES = 1 << 16  #: of an output, that `last_words` returns
_TRIES = 5  #: to make new files, while others put files of the same names there
_TO_WRITE = os.O_WRONLY | os.O_APPEND

#: Errors that concern one job only. Others can cause them in a folder that they can write to.
_ERRORS_OF_ONE_JOB = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


class ResultsDir:
    """Implements `processes.Outputs` and `ports.Listener`. It never overwrites a file.

    The directory is opened once, and its files are reached through that descriptor. The folder of
    each running job is open. Others may write to the directory, but not to our files: a job whose
    folder belongs to somebody else isn't run.
    """

    def __init__(self, path: str) -> None:
        """Make the directory, and mark it as one that we write to.

        Raises:
            UsageError: it can't be made or written, or another scheduler of ours writes to it.
        """
        self._path = path
        self._jobs: dict[int, Folder] = {}
        self._folder, self._mark = _open_directory(path)
        self.others = sorted(map(user_name, self._mark.others() - {self._mark.uid}))

    def close(self) -> None:
        """Remove our mark, and close the directory."""
        self._mark.close()
        self._folder.close()

    def open(self, job: Job) -> tuple[int, int]:
        """Make new files for the job's output; earlier ones move to attempt-N.

        Returns:
            The descriptors of stdout and stderr.

        Raises:
            HopelessError: a file or folder of somebody else is in the way of this job.
            SgsError: the files can't be made.
        """
        with self._explained(job.seq):
            is_new = self._make_folder(job.seq)
            try:
                return self._make_files(job, is_new=is_new)
            except _ERRORS_OF_ONE_JOB as error:
                path = self._folder.join(job_folder(job.seq))
                raise UnsafeError(f"{path} can't be used: {error.strerror}") from None

    def last_words(self, job: Job) -> bytes:
        """Return the end of the job's stderr and stdout; empty if the job doesn't run."""
        folder = self._jobs.get(job.seq)
        return _read_end(folder, STDERR) + _read_end(folder, STDOUT) if folder else b""

    def on_event(self, event: Event) -> None:
        """Write the result of a job that has ended.

        Raises:
            SgsError: it can't be written; the message says how the job ended.
        """
        if isinstance(event, Ended):
            record = json.dumps(result_record(event))
            seq = event.running.job.seq
            with self._explained(seq, f"; not recorded is: {record}"), self._jobs.pop(seq) as job:
                job.write(RESULT, record.encode() + b"\n", 0o666)
        elif isinstance(event, Rejected):
            self._close_folder(event.seq)

    def _make_folder(self, seq: int) -> bool:
        """Make the job's folder; return False if a file or folder has its name."""
        try:
            make_folder(self._folder.fd, job_folder(seq))
        except FileExistsError:
            return False
        return True

    def _make_files(self, job: Job, *, is_new: bool) -> tuple[int, int]:
        """Make new files in the job's folder, with some tries if others may write there.

        Raises:
            UnsafeError: others keep putting files of these names there.
            OSError: the files can't be made.
        """
        self._close_folder(job.seq)
        folder = open_own_child(self._folder, job_folder(job.seq), self._mark.uid)
        self._jobs[job.seq] = folder
        for tries in range(_TRIES):
            if tries or not is_new:
                _set_aside(folder, self._mark.uid)
            with suppress(FileExistsError):
                return _new_files(folder, job.command + b"\n")
        raise UnsafeError(f"{folder.path} gets files of others again and again")

    def _close_folder(self, seq: int) -> None:
        if seq in self._jobs:
            self._jobs.pop(seq).close()

    @contextmanager
    def _explained(self, seq: int, lost: str = "") -> Iterator[None]:
        """Turn an OSError into an error that tells the user what to do."""
        try:
            yield
        except UnsafeError as error:
            advice = "have it removed, or name another directory by --results"
            raise HopelessError(f"can't be recorded: {error} ({advice})") from None
        except OSError as error:
            folder = f"{self._path}/{job_folder(seq)}"
            text = f"--results {folder!r} can't be written: {error.strerror}{lost}"
            raise SgsError(text) from None


def _open_directory(path: str) -> tuple[Folder, Mark]:
    """Open the directory, and mark it as one that we write to."""
    try:
        folder = open_named(path, make=True)
    except UnsafeError as error:
        raise UsageError(f"--results {path!r} can't be used: {error}") from None
    except OSError as error:
        raise UsageError(f"--results {path!r} can't be made: {error.strerror}") from None
    try:
        return folder, _make_mark(folder)
    except OSError as error:
        folder.close()
        raise UsageError(f"--results {path!r} can't be written: {error.strerror}") from None
    except UsageError:
        folder.close()
        raise


def _make_mark(folder: Folder) -> Mark:
    """Mark the directory as ours, if no other scheduler of this user writes there.

    Older versions locked the directory itself, which anybody can do. So that lock counts only if
    this user holds it and has no mark.

    Raises:
        UsageError: another scheduler of this user writes there.
        OSError: the mark can't be made.
    """
    is_new = os.geteuid() not in writers(folder).known
    if not try_lock(folder.fd) and is_new and os.geteuid() in find_lock_owners(folder.fd):
        raise _in_use(folder.path)
    mark = Mark(folder)
    if mark.uid in mark.others():
        mark.close()
        raise _in_use(folder.path)
    return mark


def _in_use(path: str) -> UsageError:
    return UsageError(
        f"--results {path!r} is in use by another scheduler; name another directory, or wait "
        "until that one has ended"
    )


def _new_files(folder: Folder, command: bytes) -> tuple[int, int]:
    fd = folder.create(COMMAND, 0o666)
    try:
        write_whole(fd, command)
    finally:
        os.close(fd)
    stdout_fd = folder.create(STDOUT, 0o666, _TO_WRITE)
    try:
        return stdout_fd, folder.create(STDERR, 0o666, _TO_WRITE)
    except OSError:
        os.close(stdout_fd)
        raise


def _set_aside(folder: Folder, uid: int) -> None:
    """Move the files of an earlier run, and all else with these names, to attempt-N."""
    names = [name for name in JOB_FILES if folder.has(name)]
    if names:
        attempt = attempt_folder(_free_number(folder))
        os.mkdir(attempt, dir_fd=folder.fd)
        with open_own_child(folder, attempt, uid) as aside:
            for name in names:
                os.rename(name, name, src_dir_fd=folder.fd, dst_dir_fd=aside.fd)


def _free_number(folder: Folder) -> int:
    """Return a number that no attempt has: the next one, if they are counted without a gap.

    The search is binary, so that many attempts, which others may have put there, cost little.
    """
    taken, free = 0, 1
    while folder.has(attempt_folder(free)):
        taken, free = free, 2 * free
    while free - taken > 1:
        middle = (taken + free) // 2
        if folder.has(attempt_folder(middle)):
            taken = middle
        else:
            free = middle
    return free


def _read_end(folder: Folder, name: str) -> bytes:
    try:
        with open(open_found(folder, name), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
            return file.read(_LAST_BYTES)
    except OSError:
        return b""
