"""This user's queue on this machine: its folder, its file, and its server, started by need."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.disk_space import shown_lack
from simple_gpu_scheduler.files.state_dir import open_queue, queue_place
from simple_gpu_scheduler.queue import server_lock
from simple_gpu_scheduler.queue.mailbox import call, to_cancel
from simple_gpu_scheduler.queue.store.jobs import LACK, QueueStore
from simple_gpu_scheduler.system.fds import print_stderr
from simple_gpu_scheduler.system.proc import is_dying

DATABASE, LOG = "queue.sqlite3", "server.log"
_MODULE = "simple_gpu_scheduler.queue.server.main"
_START_LIMIT_S = 10.0
_LOOK_AGAIN_S = 0.002

#: A shell goes between, so that the server is no child of ours.
_IN_BACKGROUND = '"$@" >&2 & echo $!'

#: What is the submitter's, or was given to him by another lease, is none of the server's. Least of
#: all the marks of a job that submits others: the server and all that it starts would be its own.
NOT_ITS_OWN = (
    "SGS_LEASE", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "SGS_RUN", "SGS_SEQ", "SGS_JOB",
    "SGS_ATTEMPT",
)  # fmt: skip

#: Where state and leases are, for those who start without our environment.
_PLACES = ("SGS_STATE_DIR", "XDG_STATE_HOME", "SGS_LEASE_DIR", "LD_LIBRARY_PATH")


#: What a user can look at where there is no room for another process.
_LIMITS = {
    os.strerror(errno.EAGAIN): ": ulimit -u, or the limit of this session or container",
    os.strerror(errno.EMFILE): ": ulimit -n where the server was started",
}


class QueueHome:
    """Where a user meets his queue."""

    def __init__(self) -> None:
        """Open it; it is created if need be.

        Raises:
            SgsError: it can't be used.
        """
        place = queue_place()
        self.folder = place.path
        open_queue(place.path, place.above).close()
        self.store = QueueStore(os.path.join(self.folder, DATABASE))

    def wake(self) -> None:
        """Tell the server that there is something to do, and start it if there is none.

        What was submitted is accepted whatever becomes of this.
        """
        if not self._is_served() or not call(self.folder):
            try:
                pid = self._start()
            except SgsError as error:
                print_stderr(f"sgs: {error}; what is in the queue waits for sgs server start")
                return
            until_s = time.monotonic() + _START_LIMIT_S
            while not server_lock.is_held(self.folder) and not is_dying(pid):
                if time.monotonic() > until_s:
                    break
                time.sleep(_LOOK_AGAIN_S)  # so that whoever stops it right now finds it

    def cancel_by_word(self, jobs: Sequence[int]) -> None:
        """Have the server cancel jobs, though there is no room to write it.

        Raises:
            SgsError: there is no server that hears it.
        """
        self.start_server()
        if not all(call(self.folder, word) for word in to_cancel(jobs)):
            raise SgsError("the server doesn't answer (was it stopped?)")

    def start_server(self) -> None:
        """See that there is a server, and that it is at work.

        Raises:
            SgsError: it can't be started; says why.
        """
        if self._is_served() and call(self.folder):
            return
        pid = self._start()
        until_s = time.monotonic() + _START_LIMIT_S
        while self.server_pid() is None and time.monotonic() < until_s:
            if is_dying(pid) and self.server_pid() is None:
                why = self.last_words().rpartition("error: ")[2] or shown_lack(self.folder)
                raise SgsError(f"the server can't be started: {why or 'see ' + self._log}")
            time.sleep(_LOOK_AGAIN_S)

    def _is_served(self) -> bool:
        """Whether there is a server; waits for one that was killed to be gone.

        It would still have the lock, so that no other could begin, but heed no word.
        """
        until_s = time.monotonic() + _START_LIMIT_S
        while (pid := self.server_pid()) is not None:
            if not is_dying(pid) or time.monotonic() > until_s:
                return True
            time.sleep(_LOOK_AGAIN_S)
        return False

    def server_pid(self) -> int | None:
        """The server's process; None if there is none."""
        about = self.server()
        return None if about is None else int(about["pid"])

    def server(self) -> dict[str, Any] | None:
        """What the server says of itself; None if there is none."""
        return server_lock.server(self.folder)

    def lacks(self) -> str:
        """What keeps any job from starting, and what to do; empty if nothing does."""
        full = self.store.file.lacks or shown_lack(self.folder)
        if full:
            return (
                f"{full}, where {self.folder} is. Jobs run on and can be cancelled; how they end "
                "is written once there is room (sgs clean --finished makes some)"
            )
        lack = self.store.setting(LACK)
        limit = _LIMITS.get(lack, "")
        return lack and f"no process can be had ({lack}{limit}); the server tries again"

    def stop_server(self) -> bool:
        """Have the server end, jobs run on; False if there is none, or it doesn't end in time."""
        until_s = time.monotonic() + _START_LIMIT_S
        while server_lock.is_beginning(self.folder) and time.monotonic() < until_s:
            time.sleep(_LOOK_AGAIN_S)
        pid = self.server_pid()
        if pid is None or not call(self.folder, b"stop"):
            return False
        while self.server_pid() == pid and time.monotonic() < until_s:
            time.sleep(_LOOK_AGAIN_S)
        return self.server_pid() != pid

    def log_path(self, job: int, attempt: int) -> str:
        """Where the output of an attempt is."""
        return os.path.join(self.folder, "logs", f"{job}.{attempt}.log")

    def last_words(self) -> str:
        """The last line of the server's log; empty if a server has got to work since."""
        log = self._log
        try:
            if os.stat(log).st_mtime_ns < server_lock.told_at_ns(self.folder):
                return ""
            with open(log, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def server_command(self) -> list[str]:
        """What runs a server of this queue."""
        return [sys.executable, "-m", _MODULE, self.folder]

    def own_environ(self) -> dict[str, str]:
        """Of our environment, what decides where state and leases are."""
        return {name: os.environ[name] for name in _PLACES if name in os.environ}

    def _start(self) -> int:
        """Start one; returns its process. It is no child of ours: we may be a part of a job.

        Raises:
            SgsError: no process can be had.
        """
        import subprocess  # mostly there is a server

        environ = {k: v for k, v in os.environ.items() if k not in NOT_ITS_OWN}
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
        except (OSError, subprocess.CalledProcessError) as error:  # of the shell: in the log
            why = getattr(error, "strerror", "") or self.last_words() or f"see {self._log}"
            raise SgsError(f"the server can't be started: {why}") from None
        finally:
            os.close(log_fd)

    @property
    def _log(self) -> str:
        return os.path.join(self.folder, LOG)

    def _open_log(self) -> int:
        """What the server says goes nowhere if there is no room for that."""
        try:
            return os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)


def home_if_any() -> QueueHome | None:
    """The queue, if anything was ever put into it; for those who only look: nothing is created."""
    return QueueHome() if os.path.exists(os.path.join(queue_place().path, DATABASE)) else None
