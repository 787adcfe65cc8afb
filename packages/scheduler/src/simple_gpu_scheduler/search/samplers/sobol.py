"""Sobol's quasi-random points, which fill a space more evenly than independent draws.

The points come in Gray code order. So each differs from the previous one by one direction number
in each dimension, and only the last point is stored. A random digital shift flips the same random
bits in every point. It moves the first point away from the corner and keeps the evenness.

SciPy has this as well, but takes 161 MB.
"""

from __future__ import annotations

from random import Random

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.samplers.sobol_directions import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BITS = 64


def shifted_points(dimensions: int, seed: int | None) -> Iterator[list[int]]:
    """Yield points with coordinates from 0 to below 2**64, moved by a shift from the seed."""
    random = Random(seed)
    return points([random.getrandbits(BITS) for _ in range(dimensions)])


def points(shift: Sequence[int]) -> Iterator[list[int]]:
    """Yield the shifted sequence; the shift has a number for each dimension."""
    directions = direction_numbers(len(shift))
    point = list(shift)
    for number in range(2**BITS):
        yield point
        lowest_zero = (~number & (number + 1)).bit_length() - 1
        point = [
            coordinate ^ numbers[lowest_zero]
            for coordinate, numbers in zip(point, directions, strict=True)
        ]


def direction_numbers(dimensions: int) -> list[list[int]]:
    """The direction numbers of each dimension, beginning with that for the lowest bit of a point.

    Raises:
        UsageError: there are more dimensions than the table has.
    """
    entries = TABLE.split(";")
    if dimensions > len(entries) + 1:
        raise UsageError(
            f"--sampling-mode sobol is for up to {len(entries) + 1} parameters, not {dimensions}; "
            "use --sampling-mode random"
        )
    first = [1 << (BITS - 1 - bit) for bit in range(BITS)]
    return [first, *(_extend(entry) for entry in entries[: dimensions - 1])]


def _extend(entry: str) -> list[int]:
    """Extend an entry of the table to all bits, by the recurrence of its polynomial."""
    coefficients, *integers = map(int, entry.split())
    degree = len(integers)
    numbers = [integer << (BITS - 1 - bit) for bit, integer in enumerate(integers)]
    for bit in range(degree, BITS):
        number = numbers[bit - degree] ^ (numbers[bit - degree] >> degree)
        for back in range(1, degree):
            if coefficients >> (degree - 1 - back) & 1:
                number ^= numbers[bit - back]
        numbers.append(number)
    return numbers
