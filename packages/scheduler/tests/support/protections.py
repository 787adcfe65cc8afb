"""The kernel's protections of folders that all can write (fs.protected_*), switched for a test.

They are the whole machine's: one test at a time has them, and what was there before comes back
also if the test is killed, by a process of its own that nothing but SIGKILL ends.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_FOLDER = Path("/proc/sys/fs")
_NAMES = ("protected_symlinks", "protected_hardlinks", "protected_regular", "protected_fifos")
OFF = dict.fromkeys(_NAMES, "0")
ON = dict(zip(_NAMES, "1122", strict=True))

#: Waits until its stdin ends, whoever had the other end, and puts the values back.
_GUARD = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
print(flush=True)
sys.stdin.read()
for word in sys.argv[1:]:
    name, _, value = word.partition("=")
    with open(f"/proc/sys/fs/{name}", "w") as file:
        file.write(value)
"""


def values() -> dict[str, str]:
    """The protections that this kernel has, as they are now."""
    paths = [_FOLDER / name for name in _NAMES]
    return {path.name: path.read_text().strip() for path in paths if path.exists()}


def at_rest() -> dict[str, str]:
    """The protections as they are while nobody has them switched."""
    with _alone():
        return values()


def may_switch() -> bool:
    """Whether we may change them; in a container even root may not."""
    with _alone():
        try:
            _write(values())
        except OSError:
            return False
    return os.geteuid() == 0


@contextmanager
def switched(wanted: Mapping[str, str]) -> Iterator[None]:
    """Have these values meanwhile, once nobody else has his."""
    with _alone() as lock_fd, _guarded(values(), lock_fd):
        _write(wanted)
        yield


def _write(wanted: Mapping[str, str]) -> None:
    for name in values():
        (_FOLDER / name).write_text(wanted[name])


@contextmanager
def _alone() -> Iterator[int]:
    fd = os.open(_FOLDER / _NAMES[0], os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _guarded(before: Mapping[str, str], lock_fd: int) -> Iterator[None]:
    """The guard has the lock as well: who comes next finds what was there before."""
    words = [f"{name}={value}" for name, value in before.items()]
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        pass_fds=[lock_fd],
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    guard.stdout.readline()
    try:
        yield
    finally:
        guard.stdin.close()
        guard.stdout.close()
        assert guard.wait(60) == 0
