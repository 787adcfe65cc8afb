"""Incremental learning: closed forms, an integrator, and gradient descent on real factors."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from iclr2020.optimization.incremental import (
    DeepLinear,
    Factorized,
    flow,
    is_incremental,
    passed,
    time_to_reach,
    train,
    value_at,
)

TARGETS = torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64)


def half_square(x: torch.Tensor) -> torch.Tensor:
    return (x - TARGETS).square().sum() / 2


@pytest.mark.parametrize("depth", [1, 2])
def test_the_closed_form_solves_the_flow(depth: int) -> None:
    def velocity(_: float, x: np.ndarray) -> np.ndarray:
        return flow(torch.from_numpy(x), TARGETS, depth).numpy()

    t = np.linspace(0, 5, 30)
    solved = solve_ivp(velocity, (0, 5), [1e-3] * 4, t_eval=t, rtol=1e-10, atol=1e-12).y
    closed = value_at(torch.from_numpy(t), 1e-3, TARGETS[:, None], depth)
    np.testing.assert_allclose(closed.numpy(), solved, atol=1e-7)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_descent_with_small_steps_follows_the_flow(depth: int) -> None:
    start, lr = 0.05, 1e-3
    path = train(Factorized(4, depth, start).double(), half_square, lambda x: x, lr=lr, steps=4000)

    def velocity(_: float, x: np.ndarray) -> np.ndarray:
        return flow(torch.from_numpy(x), TARGETS, depth).numpy()

    t = np.arange(0, 4001, 100) * lr
    solved = solve_ivp(velocity, (0, t[-1]), [start] * 4, t_eval=t, rtol=1e-9, atol=1e-11).y
    np.testing.assert_allclose(path[::100].T.numpy(), solved, atol=0.06)


def test_one_tied_weight_is_n_times_as_fast() -> None:
    """d/dt w^N = N w^(N-1) w', with w' = -dL/dw = N w^(N-1) (target - w^N)."""
    w, target, depth = torch.tensor(0.7, requires_grad=True), torch.tensor(2.0), 3
    ((w**depth - target).square() / 2).backward()
    assert w.grad is not None
    sigma = w.detach() ** depth
    velocity = depth * w.detach() ** (depth - 1) * -w.grad
    torch.testing.assert_close(velocity, flow(sigma, target, depth, tied=True))
    assert flow(sigma, target, depth, tied=True) == depth * flow(sigma, target, depth)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_the_time_to_reach_a_share_is_that_of_an_integrator(depth: int, share: float) -> None:
    times = time_to_reach(share, 1e-3, TARGETS, depth)
    for target, t in zip(TARGETS, times, strict=True):

        def velocity(_: float, x: np.ndarray, target: torch.Tensor = target) -> np.ndarray:
            return flow(torch.from_numpy(x), target, depth).numpy()

        solved = solve_ivp(velocity, (0, float(t)), [1e-3], rtol=1e-10, atol=1e-12).y[0, -1]
        assert solved == pytest.approx(share * float(target), rel=1e-5)


@pytest.mark.parametrize(("share", "start"), [(1 - 1e-6, 1e-4), (0.9, 1e-30), (0.3, 0.29)])
def test_quadrature_is_the_closed_form_of_four_factors(share: float, start: float) -> None:
    """In x = sqrt(sigma / target): target^(-3/2) / 2 times the integral of 1 / (x^2 (1 - x^2))."""

    def primitive(x: float) -> float:
        return math.atanh(x) - 1 / x

    found = time_to_reach(share, start, TARGETS, 4)
    for target, t in zip(TARGETS.tolist(), found.tolist(), strict=True):
        wanted = primitive(share**0.5) - primitive((start / target) ** 0.5)
        assert t == pytest.approx(target**-1.5 * wanted / 2, rel=1e-9)


@given(st.floats(1e-6, 0.09), st.floats(1.0, 5.0), st.sampled_from([1, 2, 3, 4]))
def test_larger_targets_are_reached_first(start: float, target: float, depth: int) -> None:
    both = torch.tensor([target * 1.5, target], dtype=torch.float64)
    first, second = time_to_reach(0.9, start, both, depth).tolist()
    assert first < second or depth == 1


@cache
def steps_of(depth: int, steps: int, lr: float = 1e-3) -> tuple[list[int], list[int]]:
    model = Factorized(4, depth, 1e-4).double()
    found = passed(train(model, half_square, lambda x: x, lr=lr, steps=steps), TARGETS)
    return found.low.tolist(), found.high.tolist()


def test_without_depth_all_values_are_learned_at_once() -> None:
    low, high = steps_of(1, 2500)
    assert low == [106] * 4
    assert high == [2302] * 4


@pytest.mark.parametrize("depth", [2, 3])
def test_steps_are_times_over_the_rate(depth: int) -> None:
    low, high = steps_of(depth, 9_000, 2.5e-3)
    for share, steps in ((0.1, low), (0.9, high)):
        wanted = (time_to_reach(share, 1e-4, TARGETS, depth) / 2.5e-3).tolist()
        assert steps == pytest.approx(wanted, rel=0.02)


def test_with_tied_factors_it_takes_the_time_over_n() -> None:
    """Seen with one weight squared and cubed, rate 0.001: 527 and 1,691 steps to 10 % of 4."""
    for depth, seen in ((2, 527), (3, 1691)):
        t = time_to_reach(0.1, 1e-4, TARGETS[:1], depth) / depth / 1e-3
        assert t.item() == pytest.approx(seen, rel=0.01)


def test_with_two_factors_they_overlap_and_with_three_they_follow_each_other() -> None:
    low, high = steps_of(2, 9_000, 2.5e-3)
    assert any(begun < done for done, begun in zip(high[:-1], low[1:], strict=True))
    low, high = steps_of(3, 9_000, 2.5e-3)
    assert all(begun > done > 0 for done, begun in zip(high[:-1], low[1:], strict=True))


def test_a_path_is_incremental_or_not() -> None:
    targets = torch.tensor([3.0, 2.0, 1.0])
    path = torch.tensor([[0.0, 0.0, 0.0], [2.9, 0.1, 0.0], [3.0, 1.5, 0.5], [3.0, 2.0, 1.0]])
    assert is_incremental(path, targets, 0.1, 0.9).tolist() == [True, False]


def test_what_never_passes_says_so() -> None:
    found = passed(torch.zeros(3, 2), torch.ones(2))
    assert found.low.tolist() == [-1, -1]


def test_singular_values_of_a_deep_linear_net_are_learned_by_size() -> None:
    torch.manual_seed(0)
    q = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    target = q @ torch.diag(TARGETS) @ q.T
    path = train(
        DeepLinear(4, 3, 1e-3).double(),
        lambda x: (x - target).square().sum() / 2,
        torch.linalg.svdvals,
        lr=2e-3,
        steps=6000,
    )
    low = passed(path, TARGETS).low.tolist()
    assert low == sorted(low)
    assert low[0] < low[1] < low[2]
    assert (path[:, 0] > 0.9 * 4).logical_and(path[:, 2] < 0.1 * 2).any()


@pytest.mark.parametrize(("share", "start"), [(0.5, 0.6), (1.0, 0.1), (0.5, 0.5)])
def test_a_share_that_cannot_be_reached_is_told(share: float, start: float) -> None:
    with pytest.raises(ValueError, match="expected start"):
        time_to_reach(share, start, torch.tensor([1.0]), 2)


def test_a_depth_without_a_closed_form_is_told() -> None:
    with pytest.raises(ValueError, match="expected 1 or 2, got 3"):
        value_at(torch.zeros(1), 0.1, torch.ones(1), 3)


def test_far_times_do_not_overflow() -> None:
    assert value_at(torch.tensor(1e6), 0.1, torch.tensor(2.0), 2) == 2
