"""The dispatchers that are compared: how each is found, started and installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .against import Earlier
from .build import HERE, Tools

SLOTS = 4
OURS = "ours"
FLOOR = "floor"
ORIGINAL = "original"
ORIGINAL_BIN = HERE / ".peers" / "venv" / "bin"
INSTALL = "make bench-peers"
FOLDER, DISK = "@FOLDER@", "@DISK@"
"""In a command or its environment: the run's folder (in memory, if possible), and one on disk."""

# A client process a job, and a server. Jobs are numbered from 0 on a fresh server. The last ones
# need not end in order, so wait for a few.
TASK_SPOOLER = """
n=0
while IFS= read -r line; do tsp -n sh -c "$line" >/dev/null || exit 1; n=$((n + 1)); done
i=$((n > 2 * TS_SLOTS ? n - 2 * TS_SLOTS : 0))
while [ "$i" -lt "$n" ]; do tsp -w "$i" || exit 1; i=$((i + 1)); done
tsp -K
"""

# A directory is a queue that runs one job at a time: four of them, filled in turn, are four slots.
NQ = """
i=0
while IFS= read -r line; do
    NQDIR=slot$i nq -c -q sh -c "$line" || exit 1
    i=$(((i + 1) % SLOTS))
done
for queue in slot*; do NQDIR=$queue nq -q -w; done
"""


@dataclass(frozen=True)
class Peer:
    """One dispatcher of shell lines.

    `jobs` is how many no-op jobs make a run of about a second. A peer that `streams` is one
    process that reads lines as slots become free, so it has CPU time of its own and can be given
    a million lines.
    """

    key: str
    title: str
    command: tuple[str, ...]
    program: str
    jobs: int
    install: str = INSTALL
    streams: bool = True
    version: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        return shutil.which(self.program) is not None


def scheduler(folder: Path, *options: str) -> tuple[str, ...]:
    return (str(folder / "simple_gpu_scheduler"), "--gpus", *map(str, range(SLOTS)), *options)


def earlier_peer(earlier: Earlier) -> Peer:
    """Our package as it was at a commit."""
    command = scheduler(earlier.folder)
    return Peer(
        earlier.commit,
        f"simple_gpu_scheduler, commit {earlier.commit}",
        command,
        command[0],
        jobs=3000,
        version=pip_version("simple-gpu-scheduler", earlier.python),
    )


def all_peers(tools: Tools, ours: Path) -> list[Peer]:
    floor, own = str(tools.floor), scheduler(ours)
    original = scheduler(ORIGINAL_BIN)
    original_version = pip_version("simple-gpu-scheduler", ORIGINAL_BIN / "python")
    socket = {"TS_SOCKET": f"{FOLDER}/socket", "TS_SLOTS": str(SLOTS)}
    return [
        Peer(FLOOR, "floor: C, posix_spawn and wait4", (floor, str(SLOTS)), floor, jobs=3000),
        Peer(
            OURS,
            "**simple_gpu_scheduler**",
            own,
            own[0],
            jobs=3000,
            install="pip install ./packages/scheduler",
            version=pip_version("simple-gpu-scheduler", ours / "python"),
        ),
        Peer(
            "xargs",
            "xargs -P4 -n1 sh -c",
            ("xargs", f"-P{SLOTS}", "-d", "\\n", "-n1", "sh", "-c"),
            "xargs",
            jobs=3000,
            version=first_line("xargs", "--version"),
        ),
        Peer(
            ORIGINAL,
            "simple-gpu-scheduler 0.1.4",
            original,
            original[0],
            jobs=2000,
            version=original_version,
        ),
        Peer(
            "tsp",
            "task-spooler",
            ("sh", "-c", TASK_SPOOLER),
            "tsp",
            jobs=800,
            streams=False,
            version=first_line("tsp", "-V"),
            environment=socket,
        ),
        Peer(
            "nq",
            f"nq, {SLOTS} directories",
            ("sh", "-c", NQ),
            "nq",
            jobs=500,
            streams=False,
            version=package_version("nq"),
            environment={"SLOTS": str(SLOTS)},
        ),
        Peer(
            "parallel",
            f"GNU parallel -j{SLOTS}",
            ("parallel", f"-j{SLOTS}"),
            "parallel",
            jobs=400,
            version=first_line("parallel", "--version"),
            environment={"PARALLEL_SHELL": "/bin/sh"},
        ),
    ]


def clean_environment(scratch: Path) -> dict[str, str]:
    """The same small environment for every peer; none of them writes to the user's folders."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PARALLEL_HOME": str(scratch / "parallel"),
        "SGS_LEASE_DIR": str(scratch / "leases"),
    }


def output_of(command: Sequence[str]) -> str:
    """What a command prints, or nothing if it cannot."""
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (result.stdout or result.stderr).strip() if result.returncode == 0 else ""


def first_line(*command: str) -> str:
    """The version number in the first line of what a command prints about itself."""
    found = re.search(r"\d+(\.\d+)*", output_of(command).partition("\n")[0])
    return found[0] if found else ""


def pip_version(distribution: str, python: Path) -> str:
    program = f"from importlib.metadata import version; print(version({distribution!r}))"
    return output_of([str(python), "-c", program])


def package_version(package: str) -> str:
    return output_of(["dpkg-query", "-W", "-f", "${Version}", package])


def default_ours() -> Path:
    """The folder with our commands: that of the interpreter which runs the benchmarks."""
    return Path(sys.executable).parent
