"""The archive of the old version is what git has."""

from __future__ import annotations

import io
import tarfile

from . import archive


def commit_of(content: bytes) -> str:
    """`git archive` writes the commit's hash into the head of the archive."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return tar.pax_headers["comment"]


def test_it_is_the_package_of_its_commit() -> None:
    content = archive.kept()
    found = archive.files(content)
    assert commit_of(content) == archive.COMMIT
    assert f"{archive.SOURCES}/{archive.PACKAGE}/adapters/queue_server_main.py" in found
    if archive.git("cat-file", "-e", f"{archive.COMMIT}^{{commit}}").returncode == 0:
        assert found == archive.files(archive.from_git())
