"""The scheduler on real cards with real PyTorch jobs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

BIN = Path(sys.executable).parent
GIB = 1 << 30

#: Takes memory, says on which card it is, and stays until the file `go` is there.
HOLD = """
import sys, time, pathlib, torch
block = torch.empty(int(float(sys.argv[1]) * 2**30), dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print(torch.cuda.device_count(), torch.cuda.get_device_properties(0).uuid, flush=True)
pathlib.Path(f"up-{time.time_ns()}").touch()
while len(sys.argv) > 2 and not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.05)
"""


@pytest.fixture(autouse=True)
def _real_gpus() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs PyTorch and a GPU")
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs PyTorch and a GPU")


@pytest.fixture
def hold(tmp_path: Path) -> str:
    """A command that takes so many GiB; see HOLD."""
    (tmp_path / "hold.py").write_text(HOLD)
    return f"{sys.executable} hold.py"


def run(folder: Path, *command: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        input=lines,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
    )


def cards(folder: Path) -> list[dict[str, object]]:
    done = run(folder, "sgs", "gpus", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_a_job_sees_just_the_card_that_it_was_given(tmp_path: Path, hold: str) -> None:
    free = [str(card["gpu"]) for card in cards(tmp_path) if card["free"]]
    uuids = {str(card["gpu"]): str(card["uuid"]) for card in cards(tmp_path)}
    lines = f"echo $CUDA_VISIBLE_DEVICES $({hold} 0.1)\n" * len(free)
    done = run(tmp_path, "simple_gpu_scheduler", "--quiet", lines=lines)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        name, count, uuid = line.split()
        assert count == "1"
        assert uuids[name].removeprefix("GPU-") == uuid.removeprefix("GPU-")


def test_a_leased_card_is_nobody_else_s(tmp_path: Path) -> None:
    inner = "env -u SGS_LEASE sgs lease --on $CUDA_VISIBLE_DEVICES --no-wait -- true; echo $?"
    done = run(tmp_path, "sgs", "lease", "--", "sh", "-c", inner)
    assert done.stdout.strip() == "75"


def test_the_peak_of_a_job_is_measured(tmp_path: Path, hold: str) -> None:
    lines = f"{hold} 2 go & sleep 4; touch go; wait $!\n"
    done = run(tmp_path, "simple_gpu_scheduler", "--vram", "4G", "--results", "r", lines=lines)
    assert done.returncode == 0, done.stderr
    peak_mib = json.loads((tmp_path / "r/1/result.json").read_text())["peak_vram_mib"]
    assert 2048 <= peak_mib < 4096
    assert "job 1 had " in done.stderr


def test_two_jobs_share_one_card(tmp_path: Path, hold: str) -> None:
    """Each waits until both are there."""
    both = "until [ $(ls up-* | wc -l) -ge 2 ]; do sleep 0.1; done; touch go"
    card = next(str(card["gpu"]) for card in cards(tmp_path) if card["free"])
    lines = f"{hold} 1 go & {both}; wait $!\n" * 2
    done = run(tmp_path, "simple_gpu_scheduler", "--gpus", card, "--vram", "3G", lines=lines)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("up-*"))) == 2


def test_out_of_memory_is_seen_and_tried_again(tmp_path: Path, hold: str) -> None:
    lines = f"{hold} 100000\n"
    done = run(tmp_path, "simple_gpu_scheduler", "--vram", "1G", "--results", "r", lines=lines)
    assert done.returncode == 1
    assert "job 1 ran out of GPU memory with 1 GiB; trying again with 1.5 GiB" in done.stderr
    assert "trying again alone on its GPU" in done.stderr
