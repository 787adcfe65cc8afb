from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fake


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 of ours."""
    return fake.compiled(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def machine(library: Path, tmp_path: Path) -> fake.Machine:
    """A machine without cards, until the test writes some."""
    return fake.Machine(library, tmp_path)


@pytest.fixture
def loaded(machine: fake.Machine, monkeypatch: pytest.MonkeyPatch) -> fake.Machine:
    """The machine, seen by this very process through pynvml; other tests see nothing of it."""
    import ctypes

    import pynvml

    library = ctypes.CDLL(str(machine.library / "libnvidia-ml.so.1"))
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setenv("FAKE_NVML_STATE", str(machine.path))
    return machine
