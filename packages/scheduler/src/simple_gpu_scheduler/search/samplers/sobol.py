"""Sobol's quasi-random points: they fill a space more evenly than independent draws do.

Points follow each other in Gray code order, so each differs from the one before by one direction
number in each dimension, and only the last point is kept. A random digital shift (the same random
bits flipped in every point) moves the first away from the corner and keeps the evenness.
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
    """Points with coordinates from 0 to below 2**64, moved by a shift that the seed decides."""
    random = Random(seed)
    return points([random.getrandbits(BITS) for _ in range(dimensions)])


def points(shift: Sequence[int]) -> Iterator[list[int]]:
    """The sequence with the shift applied, one dimension for each of the shift's numbers."""
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
    """For each dimension its direction numbers, the one for the lowest bit of a point first."""
    entries = TABLE.split(";")
    if dimensions > len(entries) + 1:
        raise UsageError(
            f"--sampling-mode sobol is for up to {len(entries) + 1} parameters, not {dimensions}; "
            "use --sampling-mode random"
        )
    first = [1 << (BITS - 1 - bit) for bit in range(BITS)]
    return [first, *(_extended(entry) for entry in entries[: dimensions - 1])]


def _extended(entry: str) -> list[int]:
    """Continue one entry of the table by its polynomial's recurrence."""
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
