"""The main program of a worker process: it runs calls, one by one, until its parent ends."""

from __future__ import annotations

import ctypes
import importlib
import os
import pickle
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer calls.

    `sys.argv` has the folder of the package, the descriptor of a socket, and the parent's pid.
    """
    _, _, fd, parent = sys.argv
    _die_with(int(parent))
    os.set_inheritable(int(fd), False)
    with Connection(int(fd)) as connection, suppress(EOFError, ConnectionError):
        sys.path[:], sys.argv[:] = pickle.loads(connection.recv_bytes())
        while True:
            failure, payload = _answer(connection.recv_bytes())
            connection.send_bytes(failure)
            connection.send_bytes(payload)
            del payload


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def _answer(request: bytes) -> tuple[bytes, bytes]:
    """Run one call; return its traceback (empty if none) and the pickled value or exception."""
    pid = os.getpid()
    try:
        function, args, kwargs = pickle.loads(request)
        answer = b"", _dumps(function(*args, **kwargs))
    except BaseException as error:
        answer = _failure(error)
    if os.getpid() != pid:  # a child that the call forked: only its parent answers
        os._exit(0)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    return answer


def _failure(error: BaseException) -> tuple[bytes, bytes]:
    text = traceback.format_exc().encode("utf-8", "surrogatepass")
    try:
        return text, _dumps(error)
    except Exception:
        return text, _dumps(_stand_in(error))


def _stand_in(error: BaseException) -> Any:
    return RuntimeError("".join(traceback.format_exception_only(type(error), error)).strip())


def _dumps(value: Any) -> bytes:
    data: bytes = importlib.import_module("cloudpickle").dumps(value)
    return data
