"""The version before the folders by domain, kept as a small archive.

A shallow clone and a source archive have no history, so the tests can't take it from git.
Write the archive again, in a full clone: python packages/scheduler/tests/faults/upgrade/archive.py
"""

from __future__ import annotations

import io
import lzma
import subprocess
import tarfile
from pathlib import Path

COMMIT = "dd3678256c5fda88030239d488c619142b01f650"
SOURCES = "packages/scheduler/src"
PACKAGE = "simple_gpu_scheduler"
ARCHIVE = Path(__file__).parent / "data" / f"{PACKAGE}-{COMMIT[:7]}.tar.xz"
ROOT = Path(__file__).parents[5]


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Ask git about this repository; it fails where there is none."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)


def from_git() -> bytes:
    """The package as git has it, as an archive that is not compressed."""
    done = git("archive", "--format=tar", COMMIT, f"{SOURCES}/{PACKAGE}")
    done.check_returncode()
    return done.stdout


def kept() -> bytes:
    """The archive that is kept, not compressed."""
    return lzma.decompress(ARCHIVE.read_bytes())


def files(archive: bytes) -> dict[str, bytes]:
    """What is in it: the text of each file by its name."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [one for one in tar if one.isfile()]
        return {one.name: _read(tar, one) for one in members}


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def extract(folder: Path) -> None:
    """Write the package into a folder."""
    for name, text in files(kept()).items():
        path = folder / Path(name).relative_to(SOURCES)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


if __name__ == "__main__":
    ARCHIVE.write_bytes(lzma.compress(from_git(), preset=9 | lzma.PRESET_EXTREME))
