"""Draw the pictures of README.md and of the site from the real programs: `make pictures`.

    python docs/pictures [FOLDER]     into this folder in place of docs/pictures

No GPU is needed: the machine is one of the fake driver (packages/scheduler/fake_nvml).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dashboard
import machine
import sweep
from drawing import HERE, TARGET

_FAKE_GPUS = HERE.parents[1] / "packages/scheduler/fake_nvml/fake-gpus"


def main() -> int:
    """Make a machine, and draw all in a process that sees it."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else HERE).resolve()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "machine.state"
        machine.write(state, [None] * 4)
        command = [_FAKE_GPUS, state, sys.executable, HERE, folder]
        env = {**os.environ, TARGET: str(target)}
        return subprocess.run(command, env=env, check=False).returncode


def draw_all(folder: Path) -> None:
    """Draw all, with leases and a queue of their own."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML_STATE", TARGET)}
    env = kept | {
        "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "xterm-256color", "TZ": "UTC",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "INPUTRC": "/dev/null",
        "SGS_LEASE_DIR": str(folder / "leases"), "SGS_STATE_DIR": str(folder / "state"),
    }  # fmt: skip
    for picture in (sweep, dashboard):
        work = folder / picture.__name__
        work.mkdir()
        picture.draw(work, env)


if __name__ == "__main__":
    if TARGET in os.environ:
        draw_all(Path(sys.argv[1]))
    else:
        sys.exit(main())
