"""The fake driver for tests: compiled once, its machine described by a file that tests rewrite.

machine = fake_nvml.Machine(library, tmp_path)  # `library`: the fixture, or compiled(folder)
machine.write(fake_nvml.card("GPU-a", memory="81559 400", processes=[(os.getpid(), 2000)]))
subprocess.run(["sgs", "gpus"], env=machine.environ())
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

SGS = str(Path(sys.executable).parent / "sgs")
SOURCE = Path(__file__).parents[2] / "fake_nvml" / "fake_nvml.c"


def compiled(folder: Path) -> Path:
    """Compile the library into the folder, for LD_LIBRARY_PATH."""
    target = folder / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-O1"]
    subprocess.run(["cc", *flags, "-o", target, SOURCE], check=True)
    return folder


def card(uuid: str, *lines: str, processes: Iterable[tuple[int, object]] = (), **facts: object):
    """The lines of one card: facts by keyword, then processes as (pid, MiB or "?"), then lines."""
    said = [f"{word} {value}" for word, value in facts.items()]
    said += [f"process {pid} {memory}" for pid, memory in processes]
    return "\n".join([f"card {uuid}", *said, *lines, ""])


class Machine:
    """A state file, and the environment of processes that see its cards."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.library = library
        self.path = folder / "machine.state"
        self.write()

    def write(self, *parts: str) -> None:
        """Replace the state at once."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(parts))
        new.replace(self.path)

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of this process, with the fake driver in it."""
        base = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
        found = {"LD_LIBRARY_PATH": str(self.library), "FAKE_NVML_STATE": str(self.path)}
        return {**base, **found, **more}


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 of ours."""
    return compiled(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(library: Path, tmp_path: Path) -> Machine:
    """A machine without cards, until the test writes some."""
    return Machine(library, tmp_path)
