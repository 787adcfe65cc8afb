"""A machine of eight cards, where the kernel itself sees who occupies which."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fake_nvml
from process_state import end_all
from users import as_user
from waiting import BOUND_S

BIN = Path(sys.executable).parent


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder to which other users can come: pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory(prefix="leases-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """The folder of this test."""
    with folder_for_all() as path:
        yield path


@pytest.fixture(scope="session")
def occupy() -> Iterator[Path]:
    """A program that locks its cards; see occupy.c."""
    source = Path(__file__).with_name("occupy.c")
    with folder_for_all() as folder:
        target = folder / "occupy"
        subprocess.run(["cc", "-Wall", "-Werror", "-O1", "-o", target, source], check=True)
        target.chmod(0o755)
        yield target


class Machine:
    """Programs that share the cards of one lease directory."""

    def __init__(self, path: Path, occupy: Path) -> None:
        self.path = path
        self.leases = path / "leases"
        self.cards = path / "cards"
        self.cards.mkdir()
        for name in ("log", *(f"card{number}" for number in range(8))):
            (self.cards / name).touch()
            (self.cards / name).chmod(0o666)
        self._occupy = occupy
        self._programs: list[subprocess.Popen[str]] = []
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "SGS_"))}
        self.env = {**keep, "SGS_LEASE_DIR": str(self.leases), "LANG": "C.UTF-8"}
        self.env["SGS_STATE_DIR"] = str(path / "state")
        self.env["PATH"] = f"{BIN}:{os.environ['PATH']}"

    def occupy(self, milliseconds: int) -> str:
        """A command line that occupies the cards it is given."""
        return f"exec {self._occupy} {self.cards} {milliseconds}"

    def start(
        self, *command: str, user: int | None = None, **settings: Any
    ) -> subprocess.Popen[str]:
        """Start one of the installed commands."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        program = subprocess.Popen(
            as_user(user, [str(BIN / command[0]), *command[1:]]),
            **{"env": self.env, "cwd": self.path, "text": True, **pipes, **settings},
        )
        self._programs.append(program)
        return program

    def run(
        self, *command: str, lines: str = "", **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the installed commands to its end."""
        program = self.start(*command, **settings)
        out, err = program.communicate(lines, timeout=BOUND_S)
        return subprocess.CompletedProcess(command, program.returncode, out, err)

    def log(self) -> list[str]:
        """What the occupying jobs saw."""
        return (self.cards / "log").read_text().splitlines()

    def files(self, ending: str = ".lease") -> list[str]:
        """Names in the lease directory."""
        names = os.listdir(self.leases) if self.leases.exists() else []
        return [name for name in names if name.endswith(ending)]

    def close(self) -> None:
        """End what a failed test has left."""
        end_all(self._programs)


@pytest.fixture
def machine(tmp_path: Path, occupy: Path) -> Iterator[Machine]:
    """The machine of this test."""
    one = Machine(tmp_path, occupy)
    yield one
    one.close()


FREE = "memory 80000 500\nutilisation 0"


class Server:
    """A machine with a driver; its state can be written anew at any time."""

    def __init__(self, machine: Machine, library: Path) -> None:
        self.machine = machine
        self.state = fake_nvml.Machine(library, machine.path)
        machine.env |= {
            "LD_LIBRARY_PATH": str(library),
            "FAKE_NVML_STATE": str(self.state.path),
        }
        self.write("", "", "")

    def write(self, *cards: str) -> None:
        """The cards GPU-0, GPU-1 and so on: free, with these lines in addition."""
        self.state.write(*(f"card GPU-{n}\n{FREE}\n{more}\n" for n, more in enumerate(cards)))

    def run(self, lines: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the scheduler to its end."""
        return self.machine.run("simple_gpu_scheduler", "--quiet", *options, lines=lines)


@pytest.fixture
def server(machine: Machine, library: Path) -> Server:
    """Three free cards of 80 GB."""
    return Server(machine, library)


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process without a lease, of a name that one could stumble on."""
    program = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stdin is not None
    program.stdout.readline()
    yield program.pid
    program.stdin.close()
    program.stdout.close()
    program.wait(30)


def open_to_all(folder: Path) -> None:
    """Other users may write there."""
    folder.chmod(0o1777)


def waits_for(program: subprocess.Popen[str], text: str) -> str:
    """The line in which a program says whom it waits for."""
    assert program.stderr is not None
    line = program.stderr.readline()
    assert "waiting: " in line
    assert text in line
    return line


def hold(machine: Machine, *options: str) -> subprocess.Popen[str]:
    """A shell on GPUs, until its stdin ends."""
    program = machine.start("sgs", "lease", *options, "--", "sh", "-c", "echo up; read x")
    assert program.stdout is not None
    assert program.stdout.readline() == "up\n"
    return program


def let_go(program: subprocess.Popen[str]) -> None:
    assert program.stdin is not None
    program.stdin.close()
    assert program.wait(60) in (0, 1)
