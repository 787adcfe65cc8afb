"""Our package as it was at a commit, in a virtual environment of its own: one more peer."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .build import BUILD, HERE
from .errors import BenchmarkError

_PACKAGE = "packages/scheduler"
_LIMIT_S = 300


@dataclass(frozen=True)
class Earlier:
    """The package of one commit: how the commit is called here, and where its commands are."""

    commit: str
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "python"


def install_all(commits: Sequence[str]) -> list[Earlier]:
    """Each commit once, in the order given."""
    hashes = dict.fromkeys(
        _run("git", "rev-parse", "--verify", f"{c}^{{commit}}") for c in commits
    )
    return [_install(full_hash) for full_hash in hashes]


def _install(full_hash: str) -> Earlier:
    """Build it, unless an earlier run has done so."""
    short = full_hash[:9]
    home = BUILD / f"against-{short}"
    done = home / "installed"
    if not done.exists():
        _run(sys.executable, "-m", "venv", "--clear", str(home))
        with tempfile.TemporaryDirectory() as folder:
            _extract(full_hash, Path(folder))
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            _run(*pip, "--disable-pip-version-check", "--no-deps", f"{folder}/{_PACKAGE}")
        done.touch()
    return Earlier(short, home / "bin")


def _extract(full_hash: str, folder: Path) -> None:
    archive = folder / "package.tar"
    _run("git", "archive", "--output", str(archive), full_hash, _PACKAGE)
    _run("tar", "-xf", str(archive), "-C", str(folder))


def _run(*command: str) -> str:
    """What the command prints; in the folder of the repository."""
    done = subprocess.run(
        command, cwd=HERE.parent, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(f"--against: `{' '.join(command)}` failed:\n{done.stderr.strip()}")
    return done.stdout.strip()
