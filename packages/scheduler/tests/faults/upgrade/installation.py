"""The package in a virtual environment of its own, which a test upgrades or removes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

import simple_gpu_scheduler

from . import archive

BOUND_S = 60.0
_NEW = Path(simple_gpu_scheduler.__file__).parent
_COMMANDS = ("sgs", "simple_gpu_scheduler", "simple_hypersearch")
_SCRIPT = "#!{python}\nimport sys\nfrom {package}.entry import {name}\nsys.exit({name}())\n"


def wait_until(seen: Callable[[], object], what: str) -> None:
    """Look until it is so; fails after a generous bound."""
    until_s = time.monotonic() + BOUND_S
    while not seen():
        assert time.monotonic() < until_s, f"never happened: {what}"
        time.sleep(0.005)


class Installation:
    """A virtual environment that holds a version of the package, and what it depends on."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True, with_pip=False)
        self.python = folder / "bin" / "python"
        (self._site,) = folder.glob("lib/python*/site-packages")
        self.package = self._site / archive.PACKAGE
        others = [path for path in sys.path if path.endswith("site-packages")]
        (self._site / "dependencies.pth").write_text("".join(f"{one}\n" for one in others))
        for name in _COMMANDS:
            self._write_command(folder / "bin" / name)

    def _write_command(self, path: Path) -> None:
        """As pip writes it."""
        words = {"python": self.python, "package": archive.PACKAGE, "name": path.name}
        path.write_text(_SCRIPT.format(**words))
        path.chmod(0o755)

    def command(self, name: str) -> str:
        """The path of one of the commands."""
        return str(self.python.with_name(name))

    def install_old(self) -> None:
        """Install the version of the archive."""
        archive.extract(self._site)

    def install_new(self) -> None:
        """Install the version that is tested."""
        shutil.copytree(_NEW, self.package, ignore=shutil.ignore_patterns("__pycache__"))

    def upgrade(self) -> None:
        """Replace the files as pip does: set the old ones aside, write the new, remove the old."""
        aside = self._site / f"~{archive.PACKAGE[1:]}"
        self.package.rename(aside)
        self.install_new()
        shutil.rmtree(aside)

    def remove(self) -> None:
        """Remove the package from under the processes that run."""
        shutil.rmtree(self.package)


class Place:
    """A user's folder, queue and leases, and one installation."""

    def __init__(self, path: Path, installation: Installation) -> None:
        self.installed = installation
        self.folder = path / "work"
        self.folder.mkdir()
        self.state = path / "state"
        config = path / "gitconfig"
        config.write_text("[user]\nname = a\nemail = a@b\n")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SGS_", "CUDA_", "PY"))}
        self.env = {
            **clean,
            "SGS_STATE_DIR": str(self.state),
            "SGS_LEASE_DIR": str(path / "leases"),
            "GIT_CONFIG_GLOBAL": str(config),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
            "PLACE": str(self.folder),
        }

    def start(self, name: str, *words: str, **options: int) -> subprocess.Popen[str]:
        """Start one of the commands; what it prints is kept together."""
        return subprocess.Popen(
            [self.installed.command(name), *words], cwd=self.folder, env=self.env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip

    def sgs(self, *words: str, data: str = "", status: int = 0) -> str:
        """Run sgs to its end; returns what it prints."""
        process = self.start("sgs", *words)
        said, _ = process.communicate(data, timeout=BOUND_S)
        assert "Traceback" not in said, said
        assert process.returncode == status, said
        return said

    def submit(self, *words: str) -> int:
        """Submit one job; returns its number."""
        return int(self.sgs("submit", *words).split()[-1])

    def git_tree(self) -> None:
        """Make the folder a work tree with one script, committed."""
        (self.folder / "code.sh").write_text('echo frozen >> "$PLACE/ran"\n')
        for words in (["init", "-q"], ["add", "code.sh"], ["commit", "-q", "-m", "x"]):
            subprocess.run(["git", *words], cwd=self.folder, env=self.env, check=True)

    def ran(self) -> list[str]:
        """What the jobs have written of themselves, each when it ran."""
        path = self.folder / "ran"
        return sorted(path.read_text().split()) if path.exists() else []

    def server_log(self) -> str:
        """What the server says."""
        return "".join(path.read_text() for path in self.state.glob("queue/*/server.log"))

    def leave(self) -> None:
        """End what a test has left."""
        if not list(self.state.glob("queue/*/queue.sqlite3")):
            return
        jobs = json.loads(self.sgs("status", "--json", "--limit", "1000"))
        open_jobs = [str(one["id"]) for one in jobs]
        if open_jobs:
            self.start("sgs", "cancel", *open_jobs).communicate(timeout=BOUND_S)
        self.start("sgs", "server", "stop").communicate(timeout=BOUND_S)
