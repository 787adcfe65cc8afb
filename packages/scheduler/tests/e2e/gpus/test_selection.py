"""`--gpus` left out, and ids checked, through the real NVML binding over a library of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).parent / "simple_gpu_scheduler")
CARDS = "GPU-aaaa GPU-bbbb:MIG-b1+MIG-b2+MIG-b3 GPU-old0"


def run(
    library: Path | None, *args: str, lines: str = "echo $CUDA_VISIBLE_DEVICES", **environ: str
) -> subprocess.CompletedProcess[str]:
    base = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES",)}
    if library is not None:
        base["LD_LIBRARY_PATH"] = str(library)
    return subprocess.run(
        [COMMAND, "--quiet", *args],
        input=lines,
        env={**base, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def gpus_used(library: Path, **environ: str) -> list[str]:
    lines = "echo $CUDA_VISIBLE_DEVICES; sleep 0.2\n" * 8
    done = run(library, lines=lines, FAKE_NVML_GPUS=CARDS, **environ)
    assert done.returncode == 0, done.stderr
    return sorted(set(done.stdout.split()))


def test_all_cards_and_slices_in_place_of_their_card(library: Path) -> None:
    assert gpus_used(library) == ["0", "2", "MIG-b1", "MIG-b2", "MIG-b3"]


@pytest.mark.parametrize(
    ("inherited", "expected"),
    [("2", ["2"]), ("MIG-b2,0", ["0", "MIG-b2"]), ("GPU-aa", ["GPU-aa"]), ("0,-1,2", ["0"])],
)
def test_within_what_was_inherited(library: Path, inherited: str, expected: list[str]) -> None:
    assert gpus_used(library, CUDA_VISIBLE_DEVICES=inherited) == expected


@pytest.mark.parametrize("inherited", ["", "7", "NoDevFiles"])
def test_nothing_usable_within_what_was_inherited(library: Path, inherited: str) -> None:
    done = run(library, FAKE_NVML_GPUS=CARDS, CUDA_VISIBLE_DEVICES=inherited)
    assert done.returncode == 2
    assert f"none of them usable within CUDA_VISIBLE_DEVICES={inherited!r}" in done.stderr


def test_no_card_at_all(library: Path) -> None:
    done = run(library, FAKE_NVML_GPUS="")
    assert done.returncode == 2
    assert "no GPU found: the NVIDIA driver answers, but has none; name GPUs" in done.stderr


def test_a_driver_that_is_not_loaded(library: Path) -> None:
    done = run(library, FAKE_NVML_GPUS=CARDS, FAKE_NVML_INIT="9")
    assert done.returncode == 2
    assert "Driver Not Loaded" in done.stderr
    assert "--gpus 0,1,2" in done.stderr


def test_named_gpus_are_used_with_a_warning_where_the_driver_does_not_answer(
    library: Path,
) -> None:
    done = run(library, "--gpus", "3", FAKE_NVML_INIT="9")
    assert (done.returncode, done.stdout) == (0, "3\n")
    assert "warning: the NVIDIA driver doesn't answer" in done.stderr


@pytest.mark.parametrize("ids", [["0", "2"], ["MIG-b1"], ["GPU-old"]])
def test_ids_that_the_machine_has(library: Path, ids: list[str]) -> None:
    done = run(library, "--gpus", *ids, FAKE_NVML_GPUS=CARDS)
    assert (done.returncode, done.stdout) == (0, ids[0] + "\n")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["3"], "unknown GPU '3'; this machine has 0, MIG-b1"),
        (["1"], "unknown GPU '1'"),
        (["0", "GPU-aaaa"], "names one GPU twice: 0 and GPU-aaaa"),
        (["fast one"], "no GPU can have"),
    ],
)
def test_ids_that_the_machine_has_not(library: Path, ids: list[str], message: str) -> None:
    done = run(library, "--gpus", *ids, FAKE_NVML_GPUS=CARDS)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
