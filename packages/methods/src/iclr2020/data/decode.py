"""From the bytes of a file to arrays: pickles of arrays only, IDX, CSV, graphs."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from iclr2020.data.sources import DataError

#: What makes an array, by the name of its module in the versions of numpy that wrote pickles.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
}
_IDX_UINT8 = 0x08


class _Arrays(pickle.Unpickler):
    """Knows numpy's arrays, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            message = f"expected a pickle of arrays only, got one with {module}.{name}"
            raise DataError(message) from None


def unpickle_arrays(data: bytes) -> Any:
    """What a pickle holds, made of lists, dicts, numbers, texts and arrays.

    Raises:
        DataError: there is anything else in it, or it isn't whole.
    """
    try:
        return _Arrays(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"expected a pickle of arrays, got: {error}") from None


def gunzip(data: bytes) -> bytes:
    """What was compressed.

    Raises:
        DataError: it isn't gzip, or isn't whole.
    """
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"expected gzip, got: {error}") from None


def idx(data: bytes) -> Any:
    """An array of bytes in MNIST's own format: two zeros, a type, the number of dimensions, sizes.

    Raises:
        DataError: it isn't that.
    """
    if len(data) < 4 or data[:3] != bytes((0, 0, _IDX_UINT8)):
        raise DataError(f"expected an IDX file of bytes, got one that begins with {data[:4]!r}")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4).astype(int)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if values.size != shape.prod():
        raise DataError(f"expected {shape.prod()} values of shape {shape}, got {values.size}")
    return values.reshape(shape)


def numbers(data: bytes) -> Any:
    """A CSV file of small whole numbers without a header, as an int64 array."""
    return np.loadtxt(io.BytesIO(data), delimiter=",", dtype=np.int64, ndmin=2)


def rows(data: bytes) -> list[dict[str, str]]:
    """A CSV file with a header."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"))))


class Molecule(NamedTuple):
    """One entry of an SDF file."""

    atoms: Sequence[str]
    bonds: Sequence[tuple[int, int, int]]  #: atom, atom, kind (1 single, 2 double, 3 triple, 4)
    properties: dict[str, str]


def molecules(data: bytes) -> Iterator[Molecule]:
    """The entries of an SDF file in its V2000 format, where columns have fixed widths."""
    for entry in data.decode("utf-8").replace("\r\n", "\n").split("$$$$\n"):
        lines = entry.split("\n")
        if len(lines) > 3:
            yield _molecule(lines)


def _molecule(lines: Sequence[str]) -> Molecule:
    counts = lines[3]
    if "V2000" not in counts:
        raise DataError(f"expected an SDF entry of version V2000, got {counts!r}")
    atoms, bonds = int(counts[:3]), int(counts[3:6])
    table = lines[4 : 4 + atoms], lines[4 + atoms : 4 + atoms + bonds]
    properties = {
        line[line.index("<") + 1 : line.rindex(">")]: value
        for line, value in pairwise(lines)
        if line.startswith("> ")
    }
    return Molecule(
        [line[31:34].strip() for line in table[0]],
        [(int(line[:3]) - 1, int(line[3:6]) - 1, int(line[6:9])) for line in table[1]],
        properties,
    )
