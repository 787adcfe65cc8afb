"""Archives as packages come: right, wrong, torn and missing."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from iclr2020.data import sources
from iclr2020.data.sources import DataError, DataSet, Source, read

CONTENT = {"pkg/data/a.bin": b"first", "pkg/data/b.bin": b"second"}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar(members: Mapping[str, bytes], prefix: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in members.items():
            about = tarfile.TarInfo(prefix + name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return file.getvalue()


def wheel(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


@pytest.fixture(params=["a folder", "it's \u00e9 \U0001f600"])
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The data folder, and three data sets that are made of `CONTENT`."""
    place = tmp_path / request.param
    place.mkdir()
    monkeypatch.setenv("ICLR2020_DATA", str(place))
    files = {name: digest(data) for name, data in CONTENT.items()}
    made = {
        "zipped": Source("some-pkg", "1.0", True, files),
        "tarred": Source("some-pkg", "1.0", False, files),
        "nested": Source("some-pkg", "1.0", False, files, "pkg/inner.tar.gz"),
        "many": Source(
            "some-pkg", "1.0", False, {"pkg/data/*.bin": digest(b"".join(CONTENT.values()))}
        ),
    }
    monkeypatch.setattr(sources, "SETS", {name: DataSet("", one) for name, one in made.items()})
    return place


def write(folder: Path, name: str, members: Mapping[str, bytes]) -> Path:
    """The archive of a data set."""
    path = folder / (
        "some_pkg-1.0-py3-none-any.whl" if name == "zipped" else "some-pkg-1.0.tar.gz"
    )
    inner = {"pkg/inner.tar.gz": tar(members)} if name == "nested" else members
    path.write_bytes(wheel(inner) if name == "zipped" else tar(inner, "some-pkg-1.0/"))
    return path


NAMES = pytest.mark.parametrize("name", ["zipped", "tarred", "nested", "many"])


@NAMES
def test_the_files_come_out_of_the_archive(folder: Path, name: str) -> None:
    write(folder, name, {**CONTENT, "pkg/other.txt": b"not wanted"})
    assert read(name) == {"a.bin": b"first", "b.bin": b"second"}


@NAMES
def test_a_missing_package_is_told_with_what_gets_it(folder: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"some-pkg isn't in .*iclr2020\.data install {name}$"):
        read(name)


@NAMES
def test_other_contents_are_told(folder: Path, name: str) -> None:
    path = write(folder, name, {**CONTENT, "pkg/data/b.bin": b"changed"})
    with pytest.raises(DataError, match="expected the checksum") as told:
        read(name)
    assert str(path) in str(told.value)


@NAMES
def test_a_torn_archive_is_told(folder: Path, name: str) -> None:
    path = write(folder, name, CONTENT)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="can't be read"):
        read(name)


@NAMES
def test_a_file_that_is_not_there_is_told(folder: Path, name: str) -> None:
    write(folder, name, {"pkg/else.txt": b""})
    with pytest.raises(DataError, match=r"has no|can't be read"):
        read(name)


def test_an_archive_of_another_version_will_do_if_it_holds_the_same(folder: Path) -> None:
    write(folder, "tarred", {**CONTENT, "pkg/data/b.bin": b"changed"})
    (folder / "some-pkg-1.1.tar.gz").write_bytes(tar(CONTENT, "some-pkg-1.1/"))
    assert read("tarred")["b.bin"] == b"second"


def test_the_folder_is_in_the_cache_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICLR2020_DATA", "/d")
    assert sources.data_folder() == Path("/d")
    monkeypatch.delenv("ICLR2020_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert sources.data_folder() == Path("/c/iclr2020")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert sources.data_folder() == Path("/h/.cache/iclr2020")


def test_debians_images_are_held_to_their_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_DEBIAN", tmp_path)
    name = "t10k-labels-idx1-ubyte.gz"
    assert sources.debian_fashion(name) is None
    (tmp_path / name).write_bytes(b"changed")
    with pytest.raises(DataError, match="expected the checksum"):
        sources.debian_fashion(name)
