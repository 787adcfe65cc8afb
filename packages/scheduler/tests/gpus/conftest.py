"""The fake driver, also within this process."""

from __future__ import annotations

import pytest

import fake_nvml
from fake_nvml import driver, library

__all__ = ["driver", "library", "loaded"]


@pytest.fixture
def loaded(driver: fake_nvml.Machine, monkeypatch: pytest.MonkeyPatch) -> fake_nvml.Machine:
    """The fake driver, seen by this very process through pynvml; other tests see nothing of it."""
    import ctypes

    import pynvml

    library = ctypes.CDLL(str(driver.library / "libnvidia-ml.so.1"))
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setenv("FAKE_NVML_STATE", str(driver.path))
    return driver
