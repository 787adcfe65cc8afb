"""A worker process: it runs Python calls, one at a time.

It has its own session, so that ^C at a terminal does not reach it. The kernel kills it when the
thread that started it ends: a worker never outlives its program, even if that is killed.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.processes.tree import Member
from simple_gpu_scheduler.processes.tree_signals import is_still
from simple_gpu_scheduler.system.proc import find_process

_BOOT = (
    "import sys; sys.path[:] = [*filter(None, sys.path), sys.argv[1]]; "
    "from simple_gpu_scheduler.executors.worker_main import main; main()"
)
_PACKAGE_ROOT = str(Path(__file__).parents[2])


class WorkerDiedError(SgsError, BrokenProcessPool):
    """The worker process ended during a call: it was killed, crashed, or called `os._exit`."""


class Reply(NamedTuple):
    """How a call ended."""

    failure: str  #: the text of its traceback; empty if it returned
    payload: bytes  #: pickled: the value it returned, or the exception it raised


class PythonWorker:
    """One worker process. Start, call and close it in one thread, which must outlive it."""

    def __init__(self, environ: Mapping[str, str], inherit: Sequence[int] = ()) -> None:
        """Start the process. It imports no module of the user before its first call.

        Args:
            environ: The environment variables of the process.
            inherit: Descriptors that the process inherits.

        Raises:
            OSError: The process can't be started.
            RuntimeError: The thread that watches it can't be started.
        """
        self._socket, child_socket = socket.socketpair()
        with child_socket:
            try:
                self._process = _start(environ, child_socket.fileno(), inherit)
            except BaseException:
                self._socket.close()
                raise
        process = find_process(self.pid)  # None: other code has waited for it already
        self._member = Member(self.pid, -1 if process is None else process.start_ticks)
        self._connection = Connection(os.dup(self._socket.fileno()))
        self._lock = threading.Lock()
        self._is_reaped = False
        self._watcher = threading.Thread(target=self._watch, name="sgs-worker-watch", daemon=True)
        try:
            self._watcher.start()
        except BaseException:  # Python 3.12.0 and 3.12.1 start no thread once the program ends
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._socket.close()
            raise
        with suppress(OSError):  # if it is dead, the first call reports that
            setup = [str(path) for path in sys.path], list(sys.argv)
            self._connection.send_bytes(pickle.dumps(setup))

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its session."""
        return self._process.pid

    def call(self, request: bytes) -> Reply:
        """Run one pickled (function, args, kwargs), and wait for its end.

        Raises:
            WorkerDiedError: The worker ended before the call did; close it.
        """
        try:
            self._connection.send_bytes(request)
            failure = self._connection.recv_bytes()
            payload = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise WorkerDiedError(f"its worker (pid {self.pid}) {self._how_it_ended()}") from None
        return Reply(failure.decode("utf-8", "surrogatepass"), payload)

    def kill(self) -> None:
        """Kill the process and all in its session. Any thread may call this at any time.

        The program may wait for all its children, or ignore them: then the kernel may use the
        process id again. So the process is checked first.
        """
        with self._lock:
            if not self._is_reaped and is_still(self._member):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def close(self, grace_s: float) -> None:
        """Ask the process to end, kill it after `grace_s` seconds, and return once it is gone."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._watcher.join(grace_s)
        if self._watcher.is_alive():
            self.kill()
            self._watcher.join()
        self._reap()
        self._socket.close()

    def _watch(self) -> None:
        """Once the process is dead, wake the thread that waits for its reply.

        The socket alone does not tell: a child of the worker may still have it open.
        """
        with suppress(ChildProcessError):  # the program ignores or reaps all children
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _reap(self) -> int:
        with self._lock:
            self._is_reaped = True  # from here on the kernel may use the process id again
            return self._process.wait()

    def _how_it_ended(self) -> str:
        self.kill()  # perhaps only its socket is closed; and its children may still run
        self._watcher.join()
        status = self._reap()
        if status >= 0:
            return f"ended with exit status {status}"
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"


def _start(environ: Mapping[str, str], fd: int, inherit: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _BOOT, _PACKAGE_ROOT, str(fd), str(os.getpid())],
        env=environ,
        stdin=subprocess.DEVNULL,
        pass_fds=(fd, *inherit),
        start_new_session=True,
    )
