"""A queue on a small disk of its own, that a test can fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from queues import Queue

needs_mount = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root"),
]


class Disk(Queue):
    """A queue on a disk of its own, that can be filled."""

    def fill(self) -> None:
        """Leave no room at all, nor in the pages that the journals have already."""
        self._fill(self.folder / "ballast", 1 << 16, 1 << 12, 1)
        for journal in self.folder.glob("*.journal"):
            self._fill(journal, 1)

    def _fill(self, path: Path, *sizes: int) -> None:
        with open(path, "ab", buffering=0) as file:
            for size in sizes:
                with suppress(OSError):
                    while True:
                        file.write(b"\n" * size)

    def leases(self) -> list[Path]:
        """What is leased."""
        return list((self.path / "leases").glob("*.lease"))

    def free(self) -> None:
        """There is room again."""
        (self.folder / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mount = tmp_path / "state"
    mount.mkdir(mode=0o700)
    options = ["-o", "size=3m,mode=0700"]
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", mount], check=True)
    try:
        one = Disk(tmp_path)
        try:
            yield one
        finally:
            one.close()
    finally:
        subprocess.run(["umount", "-l", mount], check=True)
