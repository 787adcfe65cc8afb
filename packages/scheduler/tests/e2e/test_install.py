"""`pip install ./packages/scheduler` alone, into an empty environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2]


def test_it_installs_alone_and_gives_the_three_commands(tmp_path: Path) -> None:
    folder = tmp_path / "a new environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", PACKAGE]
    subprocess.run(install, check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"],
        check=True,
        capture_output=True,
    )
    names = {one["name"] for one in json.loads(listed.stdout)}
    assert names - {"pip", "setuptools"} == {"simple-gpu-scheduler", "nvidia-ml-py"}
    for command in ("simple_gpu_scheduler", "simple_hypersearch", "sgs"):
        done = subprocess.run(
            [folder / "bin" / command, "--version"], check=True, capture_output=True, text=True
        )
        assert done.stdout.split()[-1] == "0.2.0"
    line = "echo $CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES"
    done = subprocess.run(
        [folder / "bin" / "simple_gpu_scheduler", "--quiet", "--gpus", "5"],
        input=line,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "PCI_BUS_ID 5\n"
    top = subprocess.run(
        [folder / "bin" / "sgs", "top"], capture_output=True, text=True, check=False
    )
    assert top.returncode == 1
    assert "pip install './packages/scheduler[top]'" in top.stderr
