"""Every test leases GPUs in a directory of its own: tests must not wait for each other's."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_lease_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of this test's leases."""
    folder = tmp_path / "leases"
    monkeypatch.setenv("SGS_LEASE_DIR", str(folder))
    return folder
