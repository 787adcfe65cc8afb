"""A process that runs Python calls for us, one at a time.

It has a session of its own, so that ^C at a terminal reaches only us, and the kernel kills it when
the thread that started it ends: a worker never outlives its parent, not even one that was killed.
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
    """The worker process ended in the middle of a call: killed, crashed, or by os._exit."""


class Reply(NamedTuple):
    """How a call ended."""

    failure: str  #: the text of its traceback; empty if it returned
    payload: bytes  #: pickled: what it returned, or the exception


class PythonWorker:
    """One worker. Start it, call it and close it in one thread, which must outlive it."""

    def __init__(self, environ: Mapping[str, str], inherit: Sequence[int] = ()) -> None:
        """Start it; it imports nothing of the user's before its first call.

        Args:
            inherit: descriptors that it keeps open as long as it lives.

        Raises:
            OSError: it can't be started.
            RuntimeError: nor can the thread that watches it.
        """
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _start(environ, theirs.fileno(), inherit)
            except BaseException:
                self._socket.close()
                raise
        seen = find_process(self.pid)  # None: somebody has waited for it already
        self._member = Member(self.pid, -1 if seen is None else seen.start_ticks)
        self._connection = Connection(os.dup(self._socket.fileno()))
        self._lock = threading.Lock()
        self._over = False
        self._watcher = threading.Thread(target=self._watch, name="sgs-worker-watch", daemon=True)
        try:
            self._watcher.start()
        except BaseException:  # Python 3.12.0 and 3.12.1 start no thread once the program ends
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._socket.close()
            raise
        with suppress(OSError):  # the first call will say that it is dead
            hello = [str(one) for one in sys.path], list(sys.argv)
            self._connection.send_bytes(pickle.dumps(hello))

    @property
    def pid(self) -> int:
        """Its process id, which is that of its session as well."""
        return self._process.pid

    def call(self, request: bytes) -> Reply:
        """Run one pickled (function, args, kwargs); waits for its end.

        Raises:
            WorkerDiedError: the worker ended before the call did; close it.
        """
        try:
            self._connection.send_bytes(request)
            failure = self._connection.recv_bytes()
            payload = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise WorkerDiedError(f"its worker (pid {self.pid}) {self._last_words()}") from None
        return Reply(failure.decode("utf-8", "surrogatepass"), payload)

    def kill(self) -> None:
        """Kill it, and what it has started in its session; from any thread, at any time.

        A program may wait for all children, or ignore them: then its number may be another's.
        """
        with self._lock:
            if not self._over and is_still(self._member):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def close(self, grace_s: float) -> None:
        """Let it end in order, or kill it after `grace_s`; returns once it is gone."""
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
        """Once it is dead, wake who waits for its answer, whoever else still has its socket."""
        with suppress(ChildProcessError):  # somebody ignores or reaps all children
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _reap(self) -> int:
        with self._lock:
            self._over = True  # from here on the pid may be another's
            return self._process.wait()

    def _last_words(self) -> str:
        self.kill()  # if only its socket is gone; and what it left behind
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
