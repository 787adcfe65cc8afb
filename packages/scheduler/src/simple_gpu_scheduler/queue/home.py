"""This user's queue on this machine: its folder, its file, and its server.

The server is started when it is needed.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.disk_space import find_full_disk
from simple_gpu_scheduler.files.state_dir import open_queue, queue_place
from simple_gpu_scheduler.gpus.environ import GPU_VARIABLES, LEASE_VARIABLE
from simple_gpu_scheduler.queue import server_lock
from simple_gpu_scheduler.queue.mailbox import call, to_cancel
from simple_gpu_scheduler.queue.store.jobs import LACK, QueueStore
from simple_gpu_scheduler.system.fds import print_stderr
from simple_gpu_scheduler.system.proc import is_dying

DATABASE, LOG = "queue.sqlite3", "server.log"
_MODULE = "simple_gpu_scheduler.queue.server.main"
_START_LIMIT_S = 10.0
_POLL_S = 0.002

#: A shell starts the server, so that it is no child of ours.
_IN_BACKGROUND = '"$@" >&2 & echo $!'

#: Variables that the server must not inherit from a submitter. Some belong to a lease of the
#: submitter. Others mark the processes of a job: if a job submits others, the server and all that
#: it starts would count as processes of that job.
NOT_INHERITED = (
    LEASE_VARIABLE, *GPU_VARIABLES, "SGS_RUN", "SGS_SEQ", "SGS_JOB", "SGS_ATTEMPT",
)  # fmt: skip

#: Variables that decide where state and leases are, for a server that systemd starts.
_PLACES = ("SGS_STATE_DIR", "XDG_STATE_HOME", "SGS_LEASE_DIR", "LD_LIBRARY_PATH")

#: The limit that a user can check if there is no room for another process, by error.
_LIMITS = {
    os.strerror(errno.EAGAIN): ": ulimit -u, or the limit of this session or container",
    os.strerror(errno.EMFILE): ": ulimit -n where the server was started",
}


class QueueHome:
    """The queue's folder, its store, and what commands do with its server."""

    def __init__(self) -> None:
        """Open the queue; create it if there is none.

        Raises:
            SgsError: the folder or the file can't be used.
        """
        place = queue_place()
        self.folder = place.path
        open_queue(place.path, place.above).close()
        self.store = QueueStore(os.path.join(self.folder, DATABASE))

    def wake(self) -> None:
        """Tell the server that there is something to do; start one if there is none.

        The jobs are in the queue already. So if no server can be started, this only says so.
        """
        if not self._is_served() or not call(self.folder):
            try:
                pid = self._start()
            except SgsError as error:
                print_stderr(f"sgs: {error}; the queue's jobs wait until you run sgs server start")
                return
            until_s = time.monotonic() + _START_LIMIT_S
            while not server_lock.is_held(self.folder) and not is_dying(pid):
                if time.monotonic() > until_s:
                    break
                time.sleep(_POLL_S)  # a command that stops the server at once must find it

    def cancel_by_word(self, jobs: Sequence[int]) -> None:
        """Have the server cancel jobs by a message, as the disk has no room to write it.

        Raises:
            SgsError: no server receives it.
        """
        self.start_server()
        if not all(call(self.folder, message) for message in to_cancel(jobs)):
            raise SgsError("the server doesn't answer (was it stopped?)")

    def start_server(self) -> None:
        """Start a server if there is none, and wait until it serves.

        Raises:
            SgsError: it can't be started; the error says why.
        """
        if self._is_served() and call(self.folder):
            return
        pid = self._start()
        until_s = time.monotonic() + _START_LIMIT_S
        while self.server_pid() is None and time.monotonic() < until_s:
            if is_dying(pid) and self.server_pid() is None:
                why = self.last_words().rpartition("error: ")[2] or find_full_disk(self.folder)
                raise SgsError(f"the server can't be started: {why or 'see ' + self._log}")
            time.sleep(_POLL_S)

    def _is_served(self) -> bool:
        """True if there is a server. Waits for a killed one to be gone.

        A killed server holds the lock for a moment, and no other can begin; it reads no message.
        """
        until_s = time.monotonic() + _START_LIMIT_S
        while (pid := self.server_pid()) is not None:
            if not is_dying(pid) or time.monotonic() > until_s:
                return True
            time.sleep(_POLL_S)
        return False

    def server_pid(self) -> int | None:
        """The process id of the server; None if there is none."""
        owner = self.server()
        return None if owner is None else int(owner["pid"])

    def server(self) -> dict[str, Any] | None:
        """What the server says of itself: `pid`, `since_s`. None if there is none."""
        return server_lock.server(self.folder)

    def lacks(self) -> str:
        """Why no job at all can start, and what to do about it; empty if jobs can start."""
        full = self.store.file.lacks or find_full_disk(self.folder)
        if full:
            return (
                f"{full}, where {self.folder} is. Running jobs continue and can be cancelled; "
                "their ends are recorded once there is room (sgs clean --finished makes some)"
            )
        lack = self.store.setting(LACK)
        limit = _LIMITS.get(lack, "")
        return lack and f"no process can be started ({lack}{limit}); the server tries again"

    def stop_server(self) -> bool:
        """End the server; running jobs continue. False if none runs, or it doesn't end in time."""
        until_s = time.monotonic() + _START_LIMIT_S
        while server_lock.is_beginning(self.folder) and time.monotonic() < until_s:
            time.sleep(_POLL_S)
        pid = self.server_pid()
        if pid is None or not call(self.folder, b"stop"):
            return False
        while self.server_pid() == pid and time.monotonic() < until_s:
            time.sleep(_POLL_S)
        return self.server_pid() != pid

    def log_path(self, job: int, attempt: int) -> str:
        """The path of an attempt's log."""
        return os.path.join(self.folder, "logs", f"{job}.{attempt}.log")

    def last_words(self) -> str:
        """The last line of the server's log; empty if a server has begun to serve since."""
        log = self._log
        try:
            if os.stat(log).st_mtime_ns < server_lock.written_at_ns(self.folder):
                return ""
            with open(log, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def server_command(self) -> list[str]:
        """The command that runs a server of this queue."""
        return [sys.executable, "-m", _MODULE, self.folder]

    def own_environ(self) -> dict[str, str]:
        """The variables of our environment that decide where state and leases are."""
        return {name: os.environ[name] for name in _PLACES if name in os.environ}

    def _start(self) -> int:
        """Start a server; returns its process id.

        It is no child of ours: this process may belong to a job.

        Raises:
            SgsError: no process can be started.
        """
        import subprocess  # imported here, as there is a server most of the time

        environ = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
        log_fd = self._open_log()
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", _IN_BACKGROUND, "sh", *self.server_command()],
                env=environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log_fd,
                start_new_session=True,
                check=True,
            )
            return int(done.stdout)
        except (OSError, subprocess.CalledProcessError) as error:  # the shell's is in the log
            why = getattr(error, "strerror", "") or self.last_words() or f"see {self._log}"
            raise SgsError(f"the server can't be started: {why}") from None
        finally:
            os.close(log_fd)

    @property
    def _log(self) -> str:
        return os.path.join(self.folder, LOG)

    def _open_log(self) -> int:
        """Open the server's log, or /dev/null if there is no room for a log."""
        try:
            return os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)


def home_if_any() -> QueueHome | None:
    """Return the queue if it has a file; else None, and nothing is created."""
    return QueueHome() if os.path.exists(os.path.join(queue_place().path, DATABASE)) else None
