"""Equivariant networks: what they can't compute, what they can, and sets of several sizes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from iclr2020.sets.equivariant import (
    EquivariantLinear,
    EquivariantNet,
    deep_sets,
    mean_over_set,
    point_net,
    point_net_st,
    power_sums,
)

WIDTHS = [2, 8, 8, 3]
Make = Callable[[Sequence[int]], EquivariantNet]
ALL = pytest.mark.parametrize("make", [deep_sets, point_net, point_net_st])


@ALL
def test_all_orders_of_a_set_give_the_same_in_that_order(make: Make) -> None:
    net, x = make(WIDTHS), torch.randn(2, 4, 2)
    found = net(x)
    for order in itertools.permutations(range(4)):
        torch.testing.assert_close(net(x[:, order]), found[:, order])


def influence(net: EquivariantNet) -> Tensor:
    """Whether an output of row i changes with row j: (n, n)."""
    x = torch.randn(4, 2)
    jacobian = torch.func.jacrev(lambda one: net(one[None])[0])(x)
    return jacobian.abs().sum((1, 3)) > 0


def test_a_point_net_has_no_way_from_one_row_to_another() -> None:
    assert torch.equal(influence(point_net(WIDTHS)), torch.eye(4, dtype=torch.bool))


@pytest.mark.parametrize("make", [deep_sets, point_net_st])
def test_with_a_transmission_every_row_sees_every_other(make: Make) -> None:
    torch.manual_seed(0)
    assert influence(make(WIDTHS)).all()


def test_one_transmission_computes_the_sum_exactly_at_every_row() -> None:
    net = point_net_st([1, 1], at=0)
    layer = net.layers[0]
    assert isinstance(layer, EquivariantLinear)
    assert layer.mean is not None
    x = torch.randn(3, 6, 1)
    with torch.no_grad():
        layer.own.zero_()
        layer.bias.zero_()
        layer.mean.fill_(6)  # n times the mean
    torch.testing.assert_close(net(x).detach(), x.sum(1, keepdim=True).expand(3, 6, 1))


def test_the_layer_is_its_formula() -> None:
    layer, x = EquivariantLinear(2, 3), torch.randn(4, 5, 2)
    assert layer.mean is not None
    ones = torch.ones(5, 5)
    wanted = x @ layer.own.T + (ones @ x / 5) @ layer.mean.T + layer.bias
    torch.testing.assert_close(layer(x), wanted)


def test_a_power_sum_polynomial_is_learned() -> None:
    """x_i s_2(x) with s_2 the sum of squares: the simplest one that a PointNet can't do."""
    torch.manual_seed(1)
    x = torch.rand(256, 4, 1)
    target = x * power_sums(x, torch.tensor([[2]]))[:, None] / 4
    errors = {}
    for make in (point_net, point_net_st):
        net = make([1, 32, 32, 32, 1])
        optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
        for _ in range(400):
            optimizer.zero_grad()
            loss = (net(x) - target).square().mean()
            loss.backward()
            optimizer.step()
        errors[make] = loss.item()
    assert errors[point_net_st] < 1e-3
    assert errors[point_net_st] < errors[point_net] / 3


def test_power_sums_are_those_of_a_loop() -> None:
    x, exponents = torch.randn(2, 3, 2), torch.tensor([[0, 0], [1, 2], [3, 0]])
    for b, (j, (p, q)) in itertools.product(range(2), enumerate(exponents.tolist())):
        wanted = sum(float(a) ** p * float(c) ** q for a, c in x[b])
        assert power_sums(x, exponents)[b, j].item() == pytest.approx(wanted)


@ALL
@pytest.mark.parametrize("filling", [0.0, 1e30, float("nan"), float("inf")])
def test_what_is_not_there_has_no_effect(make: Make, filling: float) -> None:
    net, x = make(WIDTHS), torch.randn(2, 3, 2)
    padded = torch.cat([x, torch.full((2, 2, 2), filling)], 1)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    torch.testing.assert_close(net(padded, mask)[:, :3], net(x))


def test_an_empty_set_has_a_mean_of_0() -> None:
    assert mean_over_set(torch.ones(1, 0, 2)).tolist() == [[[0, 0]]]
    assert mean_over_set(torch.ones(1, 2, 2), torch.tensor([[False, False]])).eq(0).all()


def test_the_mean_means_the_same_for_all_sizes() -> None:
    """A set that holds every element twice is transformed as the set that holds it once."""
    net, x = deep_sets(WIDTHS), torch.randn(2, 3, 2)
    torch.testing.assert_close(net(torch.cat([x, x], 1))[:, :3], net(x))


@pytest.mark.parametrize(("widths", "transmits"), [([1], []), ([1, 2], [True, True])])
def test_layers_that_do_not_match_are_told(widths: list[int], transmits: list[bool]) -> None:
    with pytest.raises(ValueError, match="one of transmits for each"):
        EquivariantNet(widths, transmits)


def test_a_layer_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        point_net_st([1, 1, 1], at=2)
