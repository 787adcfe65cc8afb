"""Several users on one machine, as real processes: Alice works, Bob attacks, Carol looks on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import protections
from fake_nvml import library
from process_state import end_all
from users import as_user
from waiting import BOUND_S

__all__ = ["kernel", "library", "people"]

ALICE, BOB, CAROL = 61001, 61002, 61003
LAB = 61100  #: a group that all of them may be in
BIN = Path(sys.executable).parent

#: An attacker has no rights but his own: Python itself may be root's, to be read by root alone.
_POWERLESS = """
import ctypes, errno, fcntl, json, os, signal, socket, stat, struct, subprocess, sys, time
assert ctypes.CDLL(None).capset(
    (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
"""


#: What an attacker runs to exchange two names for ever, between any two looks (renameat2(2)).
SWAP = """
one, other = map(os.fsencode, sys.argv[1:])
exchange = ctypes.CDLL(None).renameat2
print(flush=True)
while True:
    assert exchange(-100, one, -100, other, 2) == 0
"""


class People:
    """Starts programs of several users; ends what they leave."""

    def __init__(self, path: Path) -> None:
        self.path = path  #: that all can write, as /tmp
        self.leases = path / "leases"
        self.group: int | None = None  #: that they share
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "SGS_", "XDG_"))}
        self.env = {**keep, "SGS_LEASE_DIR": str(self.leases), "LANG": "C.UTF-8"}
        self.env["PATH"] = f"{BIN}:{os.environ['PATH']}"
        self._programs: list[subprocess.Popen[str]] = []

    def home(self, uid: int) -> Path:
        """The user's own folder."""
        home = self.path / f"home-{uid}"
        if not home.exists():
            home.mkdir(mode=0o700)
            os.chown(home, uid, uid)
        return home

    def environ(self, uid: int, **more: str) -> dict[str, str]:
        """What the user's programs are started with."""
        home = self.home(uid)
        return {**self.env, "HOME": str(home), "SGS_STATE_DIR": str(home / "state"), **more}

    def start(
        self, uid: int, *command: str, env: Mapping[str, str] | None = None, **settings: Any
    ) -> subprocess.Popen[str]:
        """Start one of the installed commands, or a program of the system, as a user."""
        path = BIN / command[0]
        words = [str(path) if path.exists() else command[0], *command[1:]]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        given = {"cwd": self.home(uid), "text": True, **pipes, **settings}
        program = subprocess.Popen(
            as_user(uid, words, self.group), env=env or self.environ(uid), **given
        )
        self._programs.append(program)
        return program

    def run(
        self, uid: int, *command: str, lines: str = "", **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        program = self.start(uid, *command, **settings)
        out, err = program.communicate(lines, timeout=BOUND_S)
        return subprocess.CompletedProcess(command, program.returncode, out, err)

    def attack(self, uid: int, program: str, *words: str) -> subprocess.Popen[str]:
        """Start a Python program of an attacker; returns once it has printed its first line.

        It has the modules ctypes, errno, fcntl, json, os, signal, socket, stat, struct,
        subprocess, sys and time, and no rights but the user's own.
        """
        started = self.start(uid, sys.executable, "-c", _POWERLESS + program, *words)
        assert started.stdout is not None
        if not started.stdout.readline():
            raise AssertionError(started.communicate()[1])
        return started

    def close(self) -> None:
        """End what is left."""
        end_all(self._programs)
        for uid in (ALICE, BOB, CAROL):  # the servers of their queues, and jobs of those
            _kill_all_of(uid, self.path)


def _kill_all_of(uid: int, path: Path) -> None:
    """End the user's processes of this test, as their environments tell."""
    mark = os.fsencode(path)
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{entry}").st_uid == uid and mark in _environ(entry):
                os.kill(int(entry), 9)
        except OSError:
            continue  # it is gone


def _environ(pid: str) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture
def people() -> Iterator[People]:
    """The users of this test, in a folder that all of them can write."""
    with tempfile.TemporaryDirectory(prefix="people-") as name:
        Path(name).chmod(0o1777)
        ours = People(Path(name))
        yield ours
        ours.close()


@pytest.fixture(params=["protected", "unprotected"])
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kernel's own protections, on and off; as found where they can't be switched."""
    if not protections.may_switch():
        if request.param == "unprotected":
            pytest.skip("fs.protected_* can't be switched here; tried as found")
        yield "as found"
        return
    wanted = protections.ON if request.param == "protected" else protections.OFF
    with protections.switched(wanted):
        yield request.param
