"""Clipped gradient descent against torch's clipping, the diagnostics against closed forms."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from iclr2020.optimization.clipping import (
    ClippedGD,
    Fit,
    Smoothness,
    fit,
    gradient_norm,
    local_smoothness,
    step_size,
    watch,
)


def quartic_steps(lr: float, clip: float | None, limit: int = 100_000) -> int:
    """Steps on x^4 from 5 to a gradient below 1e-4, by hand."""
    x = 5.0
    for step in range(limit):
        g = 4 * x**3
        if abs(g) < 1e-4:
            return step
        x -= (lr if clip is None else min(lr, clip * lr / abs(g))) * g
    return limit


def test_clipping_is_much_faster_on_the_quartic() -> None:
    slow = quartic_steps(1 / (12 * 5**2), None)
    fast = quartic_steps(0.05, 1.0)
    assert slow > 10 * fast


def test_the_optimizer_takes_the_steps_that_were_counted_by_hand() -> None:
    x = torch.tensor(5.0, requires_grad=True)
    optimizer = ClippedGD([x], lr=0.05, clip=1.0)
    steps = 0
    while True:
        optimizer.zero_grad()
        (x**4).backward()
        assert x.grad is not None
        if x.grad.abs() < 1e-4:
            break
        optimizer.step()
        steps += 1
    assert abs(steps - quartic_steps(0.05, 1.0)) <= 1


@pytest.mark.parametrize("clip", [0.01, 1.0, 1e6])
def test_it_is_clipping_before_sgd(clip: float) -> None:
    ours = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    theirs = copy.deepcopy(ours)
    one = ClippedGD(ours.parameters(), lr=0.1, clip=clip)
    other = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(5):
        x = torch.randn(6, 3)
        for model, optimizer in ((ours, one), (theirs, other)):
            optimizer.zero_grad()
            model(x).square().sum().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        one.step()
        other.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_gradients_are_left_as_they_are_and_frozen_ones_stay() -> None:
    moved, frozen = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = ClippedGD([{"params": [moved], "lr": 0.5}, {"params": [frozen]}], lr=1.0, clip=1.0)
    (10 * moved).sum().backward()
    assert optimizer.step(lambda: torch.tensor(7.0)) == 7
    assert moved.grad is not None
    assert moved.grad.tolist() == [10, 10]
    assert frozen.tolist() == [1, 1]
    torch.testing.assert_close(moved.detach(), torch.ones(2) * (1 - 0.5 / math.sqrt(2)))


def test_without_any_gradient_nothing_happens() -> None:
    x = torch.ones(2, requires_grad=True)
    ClippedGD([x], lr=1.0, clip=1.0).step()
    assert gradient_norm([x]) == 0
    assert x.tolist() == [1, 1]


@pytest.mark.parametrize(("lr", "clip"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_what_is_no_step_size_is_told(lr: float, clip: float) -> None:
    with pytest.raises(ValueError, match="expected a number above 0"):
        ClippedGD([torch.ones(1, requires_grad=True)], lr=lr, clip=clip)


@given(st.floats(0, 1e6), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_no_step_is_longer_than_lr_times_clip(norm: float, lr: float, clip: float) -> None:
    size = float(step_size(torch.tensor(norm, dtype=torch.float64), lr, clip))
    assert size <= lr
    assert size * norm <= lr * clip * (1 + 1e-9)


def test_smoothness_of_a_quadratic_is_its_curvature_along_the_step() -> None:
    curvature = torch.tensor([1.0, 5.0, 9.0])
    x = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)

    def loss() -> Tensor:
        return (curvature * x.square()).sum() / 2

    for axis, wanted in enumerate(curvature):
        before = x.detach().clone()
        before[axis] -= 0.3
        seen = local_smoothness(loss, [x], [before])
        assert seen.smoothness == pytest.approx(float(wanted))
        assert seen.step_length == pytest.approx(0.3)
        assert seen.gradient_norm == pytest.approx(float((curvature * before).norm()))
    assert x.tolist() == [1, 1, 1]
    assert x.grad is None


@pytest.mark.parametrize("l1", [0.1, 1.0, 4.0])
def test_the_quartic_meets_its_condition(l1: float) -> None:
    """12 x^2 <= 16 / L1^2 + 4 L1 |x|^3 for all x, and the bound is nearly attained."""
    x = torch.linspace(-50, 50, 100_001)
    gap = 16 / l1**2 + l1 * 4 * x.abs() ** 3 - 12 * x**2
    assert gap.min() >= 0
    assert gap.min() < 16 / l1**2


@pytest.mark.float64
def test_a_fit_finds_the_line_of_an_exponential() -> None:
    """f = e^x: the second derivative is the first one, so L0 = 0 and L1 = 1."""
    x = torch.zeros(1, requires_grad=True)
    seen = []
    for at in torch.linspace(0, 4, 20):
        with torch.no_grad():
            x.fill_(float(at))
        with watch(lambda: x.exp().sum(), [x], seen), torch.no_grad():
            x.add_(1e-6)
    found = fit(seen)
    assert found.l1 == pytest.approx(1, abs=1e-3)
    assert found.l0 == pytest.approx(0, abs=1e-2)
    assert found.log_correlation == pytest.approx(1, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=2, max_size=8))
def test_a_fit_is_never_below_nothing(points: list[tuple[float, float]]) -> None:
    found = fit([Smoothness(g, s, 1.0) for g, s in points])
    assert found.l0 >= 0
    assert found.l1 >= 0


def test_where_smoothness_falls_with_the_gradient_the_slope_is_none() -> None:
    assert fit([Smoothness(1.0, 3.0, 1.0), Smoothness(2.0, 1.0, 1.0)])[:2] == Fit(2.0, 0.0, -1)[:2]


def test_one_step_is_too_little_to_fit() -> None:
    with pytest.raises(ValueError, match="at least 2 finite steps, got 1"):
        fit([Smoothness(1.0, 1.0, 1.0)])


def test_a_step_that_moves_nothing_is_told_and_not_watched() -> None:
    x = torch.ones(1, requires_grad=True)
    seen: list[Smoothness] = []
    with watch(lambda: x.sum(), [x], seen):
        pass
    assert seen == []
    with pytest.raises(ValueError, match="no parameter has moved"):
        local_smoothness(lambda: x.sum(), [x], [torch.ones(1)])


def test_in_a_training_loop_it_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    twin = copy.deepcopy(model)
    unused = nn.Parameter(torch.ones(2))
    x, seen = torch.randn(8, 3), []
    for one, watched in ((model, True), (twin, False)):
        optimizer = torch.optim.Adam(one.parameters(), lr=0.01)
        for _ in range(4):
            optimizer.zero_grad()
            one(x).square().mean().backward()
            if watched:
                with watch(lambda: model(x).square().mean(), [*model.parameters(), unused], seen):
                    optimizer.step()
            else:
                optimizer.step()
    assert len(seen) == 4
    for left, right in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(left, right)


def test_clipping_is_saved_copied_and_of_groups() -> None:
    x, y = (torch.ones(1, requires_grad=True) for _ in range(2))
    optimizer = ClippedGD([{"params": [x]}, {"params": [y], "clip": 5.0}], lr=1.0, clip=2.0)
    other = ClippedGD([x], lr=3.0, clip=7.0)
    other.load_state_dict(ClippedGD([y], lr=1.0, clip=2.0).state_dict())
    assert other.param_groups[0]["clip"] == 2
    assert [one["clip"] for one in copy.deepcopy(optimizer).param_groups] == [2, 5]
    (3 * x + 4 * y).sum().backward()  # of length 5
    optimizer.step()
    assert (x.item(), y.item()) == pytest.approx((1 - 3 * 2 / 5, 1 - 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_norm_does_not_overflow_in_half_precision(dtype: torch.dtype) -> None:
    x = torch.ones(100, dtype=dtype, requires_grad=True)
    x.grad = torch.full((100,), 3e4, dtype=dtype)
    assert gradient_norm([x]).item() == pytest.approx(3e5, rel=0.01)
    ClippedGD([x], lr=1.0, clip=1.0).step()
    assert x.detach().float().tolist() == pytest.approx([0.9] * 100, abs=0.01)


def test_dropout_is_the_same_each_time_and_running_averages_are_put_back() -> None:
    """Else two masks differ, and their gradients by much more than a small step's."""
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    x, seen = torch.randn(8, 4), []

    def loss() -> Tensor:
        return model(x).square().mean()

    state = {name: one.clone() for name, one in model.named_buffers()}
    drawn = torch.random.get_rng_state()
    with watch(loss, model.parameters(), seen, buffers=model.buffers()), torch.no_grad():
        model[3].bias.add_(1e-2)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    for name, one in model.named_buffers():
        assert torch.equal(one, state[name])
    assert 2 - 1e-3 <= seen[0].smoothness < 40  # 2 is the curvature in the bias alone


def test_a_run_that_diverges_goes_on_and_its_steps_are_left_out() -> None:
    x, seen = torch.ones(2, requires_grad=True), []
    for value in (0.5, 0.2, math.nan, math.inf):
        with watch(lambda: x.pow(4).sum(), [x], seen), torch.no_grad():
            x.fill_(value)
    assert [math.isfinite(one.smoothness) for one in seen] == [True, True, False, False]
    assert fit(seen) == fit(seen[:2])
    with pytest.raises(ValueError, match="finite steps, got 1"):
        fit(seen[1:])


def test_a_fit_keeps_the_digits_of_small_numbers() -> None:
    found = fit([Smoothness(g, 1e-12 * (1 + 2 * g), 1.0) for g in (1.0, 2.0, 4.0)])
    assert found[:2] == pytest.approx((1e-12, 2e-12))


def test_when_the_loss_fails_the_parameters_are_back() -> None:
    x = torch.ones(1, requires_grad=True)
    with pytest.raises(ZeroDivisionError):
        local_smoothness(lambda: x.sum() * (1 // 0), [x], [torch.zeros(1)])
    assert x.item() == 1
