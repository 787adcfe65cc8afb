from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.memory.peaks_file import peaks_path, read_peaks, write_peaks


@given(peaks=st.dictionaries(st.binary(min_size=1, max_size=20), st.integers(0, 10**6)))
def test_peaks_come_back(
    tmp_path_factory: pytest.TempPathFactory, peaks: dict[bytes, int]
) -> None:
    path = str(tmp_path_factory.mktemp("peaks") / "new" / "peaks.json")
    write_peaks(path, peaks)
    assert read_peaks(path) == peaks


def test_the_larger_one_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "peaks.json")
    write_peaks(path, {b"a": 5, b"b": 5})
    write_peaks(path, {b"a": 3, b"b": 9})
    assert read_peaks(path) == {b"a": 5, b"b": 9}


@pytest.mark.parametrize(
    "content",
    ["", "[1]", '{"a": "x"}', "{", '{"a": null}', '{"a": 1e400}', '{"a": -5}', "[" * 100_000],
)
def test_a_file_that_is_none_of_ours_is_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "peaks.json"
    path.write_text(content)
    assert read_peaks(str(path)) == {}


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    path = str(tmp_path / "peaks.json")
    write_peaks(path, {b"%d" % n: n for n in range(1500)})
    assert len(read_peaks(path)) == 1000
    assert b"1499" in read_peaks(path)


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SgsError, match="can't be written"):
        write_peaks(str(tmp_path / "file" / "peaks.json"), {b"a": 1})


def test_it_is_for_its_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_peaks(str(tmp_path / "peaks.json"), {b"a": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "peaks.json").stat().st_mode & 0o777 == 0o600


def test_where_it_is() -> None:
    assert peaks_path({"SGS_STATE_DIR": "/s"}) == "/s/vram-peaks.json"
    assert peaks_path({"XDG_STATE_HOME": "/x"}) == "/x/simple-gpu-scheduler/vram-peaks.json"
