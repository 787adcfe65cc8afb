"""Draws combinations without end: independently, or from a Sobol sequence."""

from __future__ import annotations

from random import Random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from simple_gpu_scheduler.search.spaces.space import Space

FRACTION_BITS = 64


def independent(space: Space, seed: int | None) -> Iterator[dict[str, object]]:
    """Draw each axis independently."""
    random = Random(seed)
    # With 64 bits more than an axis needs, all its values are practically equally likely.
    widths = [FRACTION_BITS + (axis.size or 0).bit_length() for axis in space.axes]
    while True:
        values: dict[str, object] = {}
        for axis, width in zip(space.axes, widths, strict=True):
            axis.fill_from_fraction(values, random.getrandbits(width), width)
        yield values


def quasi_random(space: Space, seed: int | None) -> Iterator[dict[str, object]]:
    """Draw each combination from a point of the Sobol sequence, with one dimension per axis."""
    from simple_gpu_scheduler.search.samplers.sobol import BITS, shifted_points

    for point in shifted_points(len(space.axes), seed):
        values: dict[str, object] = {}
        for axis, bits in zip(space.axes, point, strict=True):
            axis.fill_from_fraction(values, bits, BITS)
        yield values
