"""Git as a user has set it up."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Git's configuration of this test's user."""
    path = tmp_path / "gitconfig"
    path.write_text('[user]\nname = a\nemail = a@b\n[protocol "file"]\nallow = always\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return path
