"""Featurewise sort pooling: its special cases, what is not there, and sizes never seen before."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iclr2020.checks import ShapeError
from iclr2020.sets.fspool import (
    FSPool,
    FSUnpool,
    rank_weights,
    relative_ranks,
    relaxed_sort,
    sort_features,
)


def pool_with(weight: Tensor) -> FSPool:
    pool = FSPool(weight.shape[0], weight.shape[1] - 1)
    with torch.no_grad():
        pool.weight.copy_(weight)
    return pool


def by_hand(x: Tensor, weight: Tensor) -> Tensor:
    """The definition, with its sum over all pieces, one number after the other."""
    pieces = weight.shape[1] - 1
    found = torch.zeros(x.shape[:2])
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            values = sorted(x[b, i].tolist(), reverse=True)
            for j, value in enumerate(values):
                r = j / max(len(values) - 1, 1)
                f = sum(
                    max(0.0, 1 - abs(r * pieces - k)) * float(weight[i, k])
                    for k in range(pieces + 1)
                )
                found[b, i] += value * f
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("pieces", [1, 2, 5, 20])
def test_it_is_the_definition(n: int, pieces: int) -> None:
    x, weight = torch.randn(2, 3, n), torch.randn(3, pieces + 1)
    torch.testing.assert_close(pool_with(weight)(x)[0].detach(), by_hand(x, weight))


def test_ones_are_the_sum() -> None:
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(pool_with(torch.ones(3, 5))(x)[0].detach(), x.sum(-1))


@pytest.mark.parametrize(("place", "wanted"), [(0, torch.amax), (-1, torch.amin)])
def test_one_at_an_end_is_the_extreme(place: int, wanted: object) -> None:
    x, weight = torch.randn(2, 3, 6), torch.zeros(3, 6)
    weight[:, place] = 1
    torch.testing.assert_close(pool_with(weight)(x)[0].detach(), wanted(x, -1))  # type: ignore[operator]


def test_one_in_the_middle_is_the_median_of_an_odd_number() -> None:
    x, weight = torch.randn(2, 3, 7), torch.zeros(3, 7)
    weight[:, 3] = 1
    torch.testing.assert_close(pool_with(weight)(x)[0].detach(), x.median(-1).values)


@given(st.permutations(range(6)), st.booleans())
def test_order_means_nothing_to_the_bit(order: list[int], masked: bool) -> None:
    torch.manual_seed(0)
    x, pool = torch.randn(2, 3, 6).round(decimals=0), FSPool(3, 4)  # with ties
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6]) if masked else None
    pooled = pool(x, mask)[0]
    again = pool(x[..., order], None if mask is None else mask[:, order])[0]
    assert torch.equal(pooled, again)


@pytest.mark.parametrize("temperature", [None, 0.3])
@pytest.mark.parametrize("filling", [0.0, 1e30, -1e30, float("inf"), float("nan")])
def test_what_is_not_there_has_no_effect_and_no_gradient(
    filling: float, temperature: float | None
) -> None:
    x, pool, unpool = torch.randn(2, 3, 4), FSPool(3, 5, temperature=temperature), FSUnpool(3, 5)
    padded = torch.cat([x, torch.full((2, 3, 3), filling)], -1).requires_grad_()
    mask = torch.tensor([[True] * 4 + [False] * 3] * 2)
    pooled, order = pool(padded, mask)
    torch.testing.assert_close(pooled, pool(x)[0])
    back = unpool(pooled, order, mask)
    torch.testing.assert_close(back[..., :4], unpool(*pool(x)))
    assert back[..., 4:].eq(0).all()
    (gradient,) = torch.autograd.grad(back.square().sum(), padded)
    assert gradient.isfinite().all()
    assert gradient[..., 4:].eq(0).all()


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_what_is_not_there_may_lie_anywhere(temperature: float | None) -> None:
    x, pool = torch.randn(1, 3, 4), FSPool(3, 5, temperature=temperature)
    mask = torch.tensor([[False, True, False, True]])
    torch.testing.assert_close(pool(x, mask)[0], pool(x[..., [1, 3]])[0])


def test_half_precision_has_no_constant_that_is_too_large() -> None:
    x = torch.full((1, 2, 3), -60_000.0, dtype=torch.float16)
    pool = pool_with(torch.ones(2, 2)).half()
    mask = torch.tensor([[True, False, False]])
    assert pool(x, mask)[0].tolist() == [[-60_000.0] * 2]


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_an_empty_set_is_0(temperature: float | None) -> None:
    pool, x = FSPool(3, 5, temperature=temperature), torch.randn(2, 3, 4)
    mask = torch.tensor([[False] * 4, [True] * 4])
    assert pool(x, mask)[0][0].eq(0).all()
    assert pool(torch.zeros(2, 3, 0))[0].eq(0).all()


def test_unpooling_puts_values_where_they_came_from() -> None:
    """With weights that fall from 1 to 0, the order of the output is that of the input."""
    pool, unpool = FSPool(2, 1), FSUnpool(2, 1)
    with torch.no_grad():
        unpool.weight.copy_(torch.tensor([[1.0, 0.0]] * 2))
    x = torch.rand(3, 2, 6)
    _, order = pool(x)
    back = unpool(torch.ones(3, 2), order)
    assert torch.equal(back.argsort(-1), x.argsort(-1))


def test_ranks_of_a_single_element_and_of_none() -> None:
    assert relative_ranks(torch.tensor([1, 0]), 2).tolist() == [[0, 1], [0, 1]]


def test_ranks_above_1_count_as_1() -> None:
    weight = torch.randn(2, 4)
    found = rank_weights(weight, torch.tensor([[1.0, 7.0]]))
    torch.testing.assert_close(found[0], weight[:, [3, 3]])


def test_sorted_values_come_from_where_it_is_said() -> None:
    x = torch.randn(2, 3, 5)
    mask = torch.tensor([[True, False, True, True, False]] * 2)
    ordered, order = sort_features(x, mask)
    assert torch.equal(order.sort(-1).values, torch.arange(5).expand(2, 3, 5))
    assert torch.equal(x.gather(-1, order)[..., :3], ordered[..., :3])
    assert ordered[..., :3].diff(dim=-1).le(0).all()


def test_relaxed_weights_are_their_definition() -> None:
    x, temperature = torch.randn(2, 3, 4), 0.7
    _, found = relaxed_sort(x, temperature)
    for set_, weights in zip(x.flatten(0, 1).tolist(), found.flatten(0, 1).tolist(), strict=True):
        for place, row in enumerate(weights, start=1):
            scores = [
                (len(set_) + 1 - 2 * place) * one - sum(abs(one - other) for other in set_)
                for one in set_
            ]
            exps = [math.exp(score / temperature) for score in scores]
            assert row == pytest.approx([one / sum(exps) for one in exps], abs=1e-5)


@given(st.permutations(range(5)), st.integers(1, 5))
def test_relaxed_sorting_tends_to_sorting(order: list[int], there: int) -> None:
    x = torch.tensor(order, dtype=torch.get_default_dtype()).view(1, 1, 5)
    mask = torch.arange(5)[None] < there
    values, weights = relaxed_sort(x, 0.01, mask)
    sorted_, places = sort_features(x, mask)
    torch.testing.assert_close(values, sorted_)
    assert torch.equal(weights.argmax(-1)[..., :there], places[..., :there])
    torch.testing.assert_close(weights.sum(-1)[0, 0], mask[0].to(weights.dtype))
    unpool, y = FSUnpool(1, 3), torch.ones(1, 1)
    torch.testing.assert_close(unpool(y, weights, mask), unpool(y, places, mask))


def test_only_a_relaxed_order_has_a_gradient() -> None:
    x, unpool = torch.randn(2, 3, 4, requires_grad=True), FSUnpool(3, 5)
    _, order = FSPool(3, 5)(x)
    assert not order.is_floating_point()
    _, weights = FSPool(3, 5, temperature=1.0)(x)
    (gradient,) = torch.autograd.grad(unpool(torch.ones(2, 3), weights).square().sum(), x)
    assert gradient.abs().amax(-1).gt(1e-6).all()


def test_the_gradient_of_relaxed_sorting_is_that_of_small_differences() -> None:
    x = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, False, True], [True] * 4])
    assert torch.autograd.gradcheck(lambda x: relaxed_sort(x, 0.8, mask), (x,))


@pytest.mark.parametrize(
    "order",
    [torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4), torch.zeros(2, 3, 4, 4, dtype=torch.long)],
    ids=["not square", "values", "places of the wrong shape"],
)
def test_an_order_that_cannot_be_is_told(order: Tensor) -> None:
    with pytest.raises(ShapeError, match="order: expected shape"):
        FSUnpool(3, 4)(torch.zeros(2, 3), order)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_cannot_be_is_told(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        FSPool(3, 4, temperature=temperature)
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        relaxed_sort(torch.zeros(1, 1, 2), temperature)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_sizes_that_cannot_be_are_told(shape: tuple[int, int]) -> None:
    for kind in (FSPool, FSUnpool):
        with pytest.raises(ValueError, match="above 0, got 0"):
            kind(*shape)


def test_it_compiles_without_a_break() -> None:
    pool, unpool = FSPool(3, 4), FSUnpool(3, 4)

    def both(x: Tensor) -> Tensor:
        return unpool(*pool(x))

    x = torch.randn(2, 3, 5)
    found = torch.compile(both, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(found, both(x))
