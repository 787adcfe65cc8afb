"""A seeded shuffle of range(size) in constant memory, whatever the size.

Up to `SHUFFLED_IN_MEMORY` indices it is the order of `random.Random(seed).shuffle`. A larger range
is enciphered by a Feistel network over the smallest rectangle, rows times columns, that holds it.
Each round moves one coordinate by a random function of the other. A round can be undone, so no two
positions get the same index. An index outside the range is enciphered again (cycle walking).
"""

from __future__ import annotations

from math import isqrt
from random import Random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SHUFFLED_IN_MEMORY = 2**16
DOUBLE_ROUNDS = 3
CHUNK_BITS = 12
CHUNK_MASK = 2**CHUNK_BITS - 1


def permutation(size: int, seed: int | None) -> Iterator[int]:
    """Yield every index below `size` once, in an order that depends on the seed."""
    if size <= SHUFFLED_IN_MEMORY:
        order = list(range(size))
        Random(seed).shuffle(order)
        return iter(order)
    return enciphered(size, Random(seed))


def enciphered(size: int, random: Random) -> Iterator[int]:
    """Yield every index below `size` once, each computed from its position alone."""
    rows = isqrt(size - 1) + 1
    columns = -(-size // rows)
    if rows <= 2**CHUNK_BITS:
        return _by_whole_tables(size, rows, columns, random)
    return _by_chunked_tables(size, rows, columns, random)


def _by_whole_tables(size: int, rows: int, columns: int, random: Random) -> Iterator[int]:
    """Encipher with random functions that are tables with an entry for every coordinate."""
    down = [_table(columns, rows, random) for _ in range(DOUBLE_ROUNDS)]
    across = [_table(rows, columns, random) for _ in range(DOUBLE_ROUNDS)]
    (down0, down1, down2), (across0, across1, across2) = down, across
    for position in range(size):
        index = size
        row, column = divmod(position, columns)
        while index >= size:
            row = (row + down0[column]) % rows
            column = (column + across0[row]) % columns
            row = (row + down1[column]) % rows
            column = (column + across1[row]) % columns
            row = (row + down2[column]) % rows
            column = (column + across2[row]) % columns
            index = row * columns + column
        yield index


def _by_chunked_tables(size: int, rows: int, columns: int, random: Random) -> Iterator[int]:
    """Encipher with random functions that sum a table entry for each 12 bits of a coordinate."""
    rounds = [
        (_tables(columns, rows, random), _tables(rows, columns, random))
        for _ in range(DOUBLE_ROUNDS)
    ]
    for position in range(size):
        index = size
        row, column = divmod(position, columns)
        while index >= size:
            for down, across in rounds:
                row = _moved(row, column, down) % rows
                column = _moved(column, row, across) % columns
            index = row * columns + column
        yield index


def _table(length: int, bound: int, random: Random) -> list[int]:
    return [random.randrange(bound) for _ in range(length)]


def _tables(length: int, bound: int, random: Random) -> list[list[int]]:
    chunks = -(-(length - 1).bit_length() // CHUNK_BITS)
    return [_table(CHUNK_MASK + 1, bound, random) for _ in range(chunks)]


def _moved(coordinate: int, other: int, tables: list[list[int]]) -> int:
    for table in tables:
        coordinate += table[other & CHUNK_MASK]
        other >>= CHUNK_BITS
    return coordinate
