"""Each job's command, output and end in files: DIR/SEQ/command, stdout, stderr, result.json."""

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
from simple_gpu_scheduler.results.writer_lock import Mark, writers
from simple_gpu_scheduler.system.fds import write_whole
from simple_gpu_scheduler.system.flock import try_lock
from simple_gpu_scheduler.system.lock_holders import find_lock_owners
from simple_gpu_scheduler.system.users import user_name

_FILES = ("command", "stdout", "stderr", "result.json")


_LAST_BYTES = 1 << 16
_TRIES = 5
_TO_WRITE = os.O_WRONLY | os.O_APPEND

#: What stands in the way of one job only, as others can arrange it in a folder they can write.
_MEDDLED = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


class ResultsDir:
    """Implements `processes.Outputs` and `ports.Listener`. No file is ever overwritten.

    The directory is opened once, and what is in it is reached from there; of each job that runs
    its folder is open. Others may write to the directory, but not in what is ours: a job whose
    folder is somebody else's isn't run.
    """

    def __init__(self, path: str) -> None:
        """Make the directory, and have known that we write to it.

        Raises:
            UsageError: it can't be made or written, or another scheduler of ours writes to it.
        """
        self._path = path
        self._jobs: dict[int, Folder] = {}
        self._folder, self._mark = _entered(path)
        self.others = sorted(map(user_name, self._mark.others() - {self._mark.uid}))

    def close(self) -> None:
        """Have known that we have ended."""
        self._mark.close()
        self._folder.close()

    def open(self, job: Job) -> tuple[int, int]:
        """Fresh files for the job's output; earlier ones move to attempt-N.

        Raises:
            HopelessError: something of somebody else is in the way of this job.
            SgsError: they can't be had.
        """
        with self._explained(job.seq):
            is_new = self._make(job.seq)
            try:
                return self._files(job, is_new=is_new)
            except _MEDDLED as error:
                path = self._folder.join(str(job.seq))
                raise UnsafeError(f"{path} can't be used: {error.strerror}") from None

    def last_words(self, job: Job) -> bytes:
        """The end of what the job printed, on stderr and stdout."""
        folder = self._jobs.get(job.seq)
        return _end_of(folder, "stderr") + _end_of(folder, "stdout") if folder else b""

    def on_event(self, event: Event) -> None:
        """Write how the job ended.

        Raises:
            SgsError: it can't be written; the message says how the job ended.
        """
        if isinstance(event, Ended):
            record = json.dumps(result_record(event))
            seq = event.running.job.seq
            with self._explained(seq, f"; not recorded is: {record}"), self._jobs.pop(seq) as job:
                job.write("result.json", record.encode() + b"\n", 0o666)
        elif isinstance(event, Rejected):
            self._forget(event.seq)

    def _make(self, seq: int) -> bool:
        """Make the job's folder; False if there is something of its name."""
        try:
            make_folder(self._folder.fd, str(seq))
        except FileExistsError:
            return False
        return True

    def _files(self, job: Job, *, is_new: bool) -> tuple[int, int]:
        """New files in the job's folder, to which others may put such as well if we let them."""
        self._forget(job.seq)
        folder = open_own_child(self._folder, str(job.seq), self._mark.uid)
        self._jobs[job.seq] = folder
        for tries in range(_TRIES):
            if tries or not is_new:
                _set_aside(folder, self._mark.uid)
            with suppress(FileExistsError):
                return _new_files(folder, job.command + b"\n")
        raise UnsafeError(f"{folder.path} gets files of others again and again")

    def _forget(self, seq: int) -> None:
        if seq in self._jobs:
            self._jobs.pop(seq).close()

    @contextmanager
    def _explained(self, seq: int, lost: str = "") -> Iterator[None]:
        """Turn an OSError into the user's error."""
        try:
            yield
        except UnsafeError as error:
            advice = "have it removed, or name another directory by --results"
            raise HopelessError(f"can't be recorded: {error} ({advice})") from None
        except OSError as error:
            folder = f"{self._path}/{seq}"
            text = f"--results {folder!r} can't be written: {error.strerror}{lost}"
            raise SgsError(text) from None


def _entered(path: str) -> tuple[Folder, Mark]:
    """The directory, marked as one that we write to."""
    try:
        folder = open_named(path, make=True)
    except UnsafeError as error:
        raise UsageError(f"--results {path!r} can't be used: {error}") from None
    except OSError as error:
        raise UsageError(f"--results {path!r} can't be made: {error.strerror}") from None
    try:
        return folder, _marked(folder)
    except OSError as error:
        folder.close()
        raise UsageError(f"--results {path!r} can't be written: {error.strerror}") from None
    except UsageError:
        folder.close()
        raise


def _marked(folder: Folder) -> Mark:
    """Our mark, if no other scheduler of ours is there.

    Anybody can lock the directory itself, as versions before did: that counts only where it is
    we, and where there is no mark of ours beside.
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
    fd = folder.create("command", 0o666)
    try:
        write_whole(fd, command)
    finally:
        os.close(fd)
    stdout_fd = folder.create("stdout", 0o666, _TO_WRITE)
    try:
        return stdout_fd, folder.create("stderr", 0o666, _TO_WRITE)
    except OSError:
        os.close(stdout_fd)
        raise


def _set_aside(folder: Folder, uid: int) -> None:
    """Move the files of an earlier run, and whatever has their names, to attempt-N."""
    names = [name for name in _FILES if folder.has(name)]
    if names:
        attempt = f"attempt-{_free_number(folder)}"
        os.mkdir(attempt, dir_fd=folder.fd)
        with open_own_child(folder, attempt, uid) as aside:
            for name in names:
                os.rename(name, name, src_dir_fd=folder.fd, dst_dir_fd=aside.fd)


def _free_number(folder: Folder) -> int:
    """The first one, where there is none missing; many that others have put there cost little."""
    taken, free = 0, 1
    while folder.has(f"attempt-{free}"):
        taken, free = free, 2 * free
    while free - taken > 1:
        middle = (taken + free) // 2
        if folder.has(f"attempt-{middle}"):
            taken = middle
        else:
            free = middle
    return free


def _end_of(folder: Folder, name: str) -> bytes:
    try:
        with open(open_found(folder, name), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
            return file.read(_LAST_BYTES)
    except OSError:
        return b""
