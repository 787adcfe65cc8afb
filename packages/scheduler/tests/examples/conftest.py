"""The examples in a copy of their folder, so that nothing is written to the repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with only examples/ in it, as the root of the repository has it."""
    path = tmp_path_factory.mktemp("root")
    shutil.copytree(EXAMPLES, path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return path


@pytest.fixture(scope="module")
def shell(root):
    """Run a command line in bash, in that folder, with the installed commands first in PATH."""
    scripts = Path(sys.executable).parent
    names = ("GPUS", "EPOCHS", "CUDA_VISIBLE_DEVICES", "COLUMNS")
    base = {k: v for k, v in os.environ.items() if k not in names}
    base["PATH"] = f"{scripts}{os.pathsep}{base['PATH']}"
    base["SGS_LEASE_DIR"] = str(root / "leases")  # GPUs that are held now don't matter

    def run(command, **environment):
        return subprocess.run(
            ["bash", "-c", command],
            cwd=root,
            env=base | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run
