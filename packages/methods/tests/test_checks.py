"""Wrong shapes and numbers are told with what was expected and what came."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iclr2020.checks import ShapeError, between, positive, sizes

SHAPES = st.lists(st.integers(0, 3), max_size=4)


@given(SHAPES)
def test_a_shape_that_fits_is_returned(shape: list[int]) -> None:
    names = [f"d{place}" for place in range(len(shape))]
    known = dict(zip(names, shape, strict=True))
    assert sizes("x", torch.zeros(shape), " ".join(names)) == tuple(shape)
    assert sizes("x", torch.zeros(shape), " ".join(names), **known) == tuple(shape)
    assert sizes("x", torch.zeros(shape), " ".join(map(str, shape))) == tuple(shape)
    assert sizes("x", torch.zeros([5, *shape]), "... " + " ".join(names)) == tuple(shape)


@given(SHAPES, SHAPES)
def test_another_shape_is_told(shape: list[int], other: list[int]) -> None:
    pattern = " ".join(map(str, other))
    if shape == other:
        return
    with pytest.raises(ShapeError) as told:
        sizes("x", torch.zeros(shape), pattern)
    wanted = ", ".join(map(str, other))
    assert str(told.value) == f"x: expected shape ({wanted}), got {tuple(shape)}"


def test_sizes_that_are_known_are_told() -> None:
    with pytest.raises(
        ShapeError, match=r"m: expected shape \(\.\.\., batch=2, n\), got \(3, 4\)"
    ):
        sizes("m", torch.zeros(3, 4), "... batch n", batch=2)
    with pytest.raises(ShapeError, match=r"expected shape \(\.\.\., batch, n\), got \(4,\)"):
        sizes("m", torch.zeros(4), "... batch n")


@pytest.mark.parametrize("bad", [0, -1, 0.0, float("nan")])
def test_what_has_to_be_positive(bad: float) -> None:
    assert positive("k", 3) == 3
    with pytest.raises(ValueError, match=f"k: expected a number above 0, got {bad}"):
        positive("k", bad)


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_what_has_to_lie_between(bad: float) -> None:
    assert (between("p", 0, 0, 1), between("p", 1.0, 0, 1)) == (0, 1)
    with pytest.raises(ValueError, match=f"p: expected a number from 0 to 1, got {bad}"):
        between("p", bad, 0, 1)
