"""Installations that are upgraded or removed while their processes run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .installation import Installation, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A user who has the old version."""
    one = Place(tmp_path, Installation(tmp_path / "old"))
    one.installed.install_old()
    yield one
    one.leave()
