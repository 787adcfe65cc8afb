"""What is read is what was written, and nothing that could run."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iclr2020.data import decode
from iclr2020.data.sources import DataError


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [3, 4])  # what the packages have
def test_arrays_come_through(protocol: int) -> None:
    value = {"x": np.arange(6.0).reshape(2, 3), "n": [1, "two"]}
    found = decode.unpickle_arrays(pickle.dumps(value, protocol))
    assert found["n"] == [1, "two"]
    np.testing.assert_array_equal(found["x"], value["x"])


def test_names_of_older_and_newer_numpy_are_the_same() -> None:
    new = pickle.dumps(np.arange(3), 4)
    for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        old = new.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c" + bytes([len(name)]) + name)
        body = old[11:]  # without the length of the frame, which changed
        np.testing.assert_array_equal(decode.unpickle_arrays(b"\x80\x04" + body), [0, 1, 2])


def test_what_could_run_is_refused_before_it_runs(tmp_path: Path) -> None:
    data = pickle.dumps({"x": Harmful(tmp_path / "harm")})
    with pytest.raises(DataError, match=r"expected a pickle of arrays only, got one with .*mkdir"):
        decode.unpickle_arrays(data)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps([1, 2])[:-1]])
def test_what_is_no_pickle_is_told(data: bytes) -> None:
    with pytest.raises(DataError, match="expected a pickle"):
        decode.unpickle_arrays(data)


@pytest.mark.parametrize("data", [b"", b"plain", gzip.compress(b"x" * 999, mtime=0)[:-9]])
def test_what_is_no_gzip_is_told_or_empty(data: bytes) -> None:
    if data == b"":
        assert decode.gunzip(data) == b""
        return
    with pytest.raises(DataError, match="expected gzip"):
        decode.gunzip(data)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_idx_files_have_their_shape(shape: list[int]) -> None:
    count = int(np.prod(shape))
    head = bytes((0, 0, 8, len(shape))) + b"".join(size.to_bytes(4, "big") for size in shape)
    found = decode.idx(head + bytes(range(count)))
    assert found.shape == tuple(shape)
    assert found.ravel().tolist() == list(range(count))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "IDX file"),
        (b"\0\0\x0d\x01" + b"\0\0\0\1" + b"\0" * 4, "IDX file"),  # floats
        (b"\0\0\x08\x01\0\0\0\3ab", "expected 3 values"),
    ],
)
def test_what_is_no_idx_file_is_told(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        decode.idx(data)


SDF = """ethanol
  made

  3  2  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.0000    0.0000    0.0000 Cl  0  0
    2.0000    0.0000    0.0000 O   0  0
  1  2  1  0
  2  3  2  0
M  END
> <SOL>
-1.5

$$$$
"""


def test_molecules_have_atoms_bonds_and_properties() -> None:
    one, other = decode.molecules((SDF + SDF).encode())
    assert one == other
    assert one.atoms == ["C", "Cl", "O"]
    assert one.bonds == [(0, 1, 1), (1, 2, 2)]
    assert one.properties == {"SOL": "-1.5"}


def test_another_version_of_sdf_is_told() -> None:
    with pytest.raises(DataError, match="V2000"):
        list(decode.molecules(SDF.replace("V2000", "V3000").encode()))


def test_a_large_molecule_has_no_space_between_its_numbers() -> None:
    atoms = "    0.0000    0.0000    0.0000 C   0  0\n" * 120
    bonds = "".join(f"{number:3}{number + 1:3}  1  0\n" for number in range(1, 120))
    text = f"x\n\n\n120119  0  0  0  0            999 V2000\n{atoms}{bonds}M  END\n$$$$\n"
    (one,) = decode.molecules(text.encode())
    assert len(one.atoms) == 120
    assert one.bonds[-1] == (118, 119, 1)
