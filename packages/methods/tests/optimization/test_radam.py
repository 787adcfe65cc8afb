"""RAdam: its formulas by hand, torch's optimizer against them, and the variance behind them."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iclr2020.optimization.radam import (
    PAPER_THRESHOLD,
    TORCH_THRESHOLD,
    Adam2k,
    adam_eps,
    diagnose,
    first_rectified_step,
    rate_variance_of,
    rectification,
    rho,
    rho_limit,
    variance_of_rate,
    warmup,
)


def by_hand(
    gradients: Tensor, lr: float, beta1: float, beta2: float, eps: float, threshold: float
) -> Tensor:
    """The algorithm, as the paper writes it down; the parameters after each step, from 0."""
    x, m, v = (torch.zeros_like(gradients[0]) for _ in range(3))
    path = []
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        step = m / (1 - beta1**t)
        r = rectification(t, beta2, threshold)
        if r is not None:
            step = r * step / (torch.sqrt(v / (1 - beta2**t)) + eps)
        x = x - lr * step
        path.append(x)
    return torch.stack(path)


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_torch_is_the_algorithm_with_its_threshold(beta2: float) -> None:
    gradients = torch.randn(200, 5)
    x = torch.zeros(5, requires_grad=True)
    optimizer = torch.optim.RAdam([x], lr=0.01, betas=(0.9, beta2), eps=1e-8)
    path = []
    for g in gradients:
        x.grad = g.clone()
        optimizer.step()
        path.append(x.detach().clone())
    wanted = by_hand(gradients, 0.01, 0.9, beta2, 1e-8, TORCH_THRESHOLD)
    torch.testing.assert_close(torch.stack(path), wanted, rtol=1e-5, atol=1e-7)


def test_rho_of_the_first_steps() -> None:
    assert rho(1, 0.999) == pytest.approx(1)
    assert rho_limit(0.999) == pytest.approx(1999)
    assert rho(5, 0.999) == pytest.approx(4.996, abs=5e-4)


@given(st.integers(1, 5000), st.floats(0.5, 0.9999))
def test_rho_grows_to_its_limit(step: int, beta2: float) -> None:
    assert rho(step, beta2) <= rho(step + 1, beta2) + 1e-6
    assert rho(step, beta2) <= rho_limit(beta2)


@given(st.integers(1, 5000), st.floats(0.7, 0.9999))
def test_the_rectification_is_at_most_1_and_grows(step: int, beta2: float) -> None:
    now, later = rectification(step, beta2), rectification(step + 1, beta2)
    if now is not None:
        assert later is not None
        assert 0 < now <= later + 1e-9
        assert later <= 1 + 1e-9


def test_the_first_adaptive_step_depends_on_whose_threshold_it_is() -> None:
    assert first_rectified_step(0.999, PAPER_THRESHOLD) == 5
    assert first_rectified_step(0.999, TORCH_THRESHOLD) == 6


def test_with_a_short_memory_it_is_never_adaptive() -> None:
    assert rho_limit(0.6) == pytest.approx(4)
    assert first_rectified_step(0.6) is None


def test_a_threshold_below_4_is_told() -> None:
    with pytest.raises(ValueError, match="from 4"):
        rectification(5, 0.999, 3.0)


@pytest.mark.parametrize("dof", [5, 10, 50])
def test_the_variance_of_the_rate_is_that_of_draws(dof: int) -> None:
    torch.manual_seed(0)
    chi2 = torch.randn(400_000, dof).square().sum(1)
    found = (dof / chi2).sqrt().var().item()
    assert variance_of_rate(float(dof)) == pytest.approx(found, rel=0.1)


def test_the_variance_is_infinite_where_few_were_seen_and_falls() -> None:
    assert variance_of_rate(2.0) == math.inf
    values = [variance_of_rate(value) for value in (2.5, 4.5, 10.0, 100.0, 1000.0)]
    assert values == sorted(values, reverse=True)


def test_adams_rate_varies_much_at_first_and_little_later() -> None:
    torch.manual_seed(0)
    variance = rate_variance_of(torch.randn(400, 4000), 0.999)
    assert variance[5] > 20 * variance[200]


def test_a_step_is_diagnosed() -> None:
    x, y = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.RAdam([{"params": [x], "lr": 0.5}, {"params": [y]}], lr=0.1)
    assert diagnose(optimizer) == []
    for _ in range(10):
        x.grad = torch.ones(2)
        optimizer.step()
    (info,) = diagnose(optimizer)
    assert (info.step, info.learning_rate) == (10, 0.5)
    assert info.rho == rho(10, 0.999)
    assert info.rectification == rectification(10, 0.999)
    assert info.adaptive_rate == pytest.approx(0.5 * rectification(10, 0.999))  # type: ignore[operator]


def test_another_optimizer_is_told() -> None:
    with pytest.raises(TypeError, match=r"expected torch.optim.RAdam, got SGD"):
        diagnose(torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1))  # type: ignore[arg-type]


def test_adam_that_waits_gathers_squares_without_moving_and_then_is_adam_without_momentum() -> (
    None
):
    gradients = torch.randn(30, 3)
    x = torch.zeros(3, requires_grad=True)
    optimizer = Adam2k([x], lr=0.1, wait=20)
    for step, g in enumerate(gradients):
        x.grad = g.clone()
        assert optimizer.step(lambda: torch.tensor(3.0)) == 3
        assert x.eq(0).all() == (step < 20)
    m, v, wanted = torch.zeros(3), torch.zeros(3), torch.zeros(3)
    for t, g in enumerate(gradients, 1):
        m = torch.zeros(3) if t <= 20 else 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        if t > 20:
            wanted -= 0.1 * m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    torch.testing.assert_close(x.detach(), wanted)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_when_the_closure_fails_the_rate_is_back() -> None:
    optimizer = Adam2k([torch.ones(1, requires_grad=True)], lr=0.1, wait=5)

    def fail() -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(fail)
    assert optimizer.param_groups[0]["lr"] == 0.1


def stepped(optimizer: torch.optim.Optimizer, x: Tensor, steps: int) -> float:
    for _ in range(steps):
        x.grad = torch.ones(1)
        optimizer.step()
    return x.item()


def test_a_run_that_is_resumed_does_not_wait_again() -> None:
    x, y = (torch.ones(1, requires_grad=True) for _ in range(2))
    one, other = Adam2k([x], lr=0.1, wait=3), Adam2k([y], lr=0.1, wait=1000)
    assert stepped(one, x, 3) == 1
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert stepped(one, x, 2) == stepped(other, y, 2) < 1
    again = copy.deepcopy(one)
    assert again.param_groups[0]["wait"] == 3


def test_a_schedule_goes_with_adam_that_waits() -> None:
    x = torch.ones(1, requires_grad=True)
    optimizer = Adam2k([x], lr=1.0, wait=2)
    schedule = warmup(optimizer, 4)
    rates = []
    for _ in range(4):
        stepped(optimizer, x, 1)
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert rates == [0.25, 0.5, 0.75, 1.0]
    assert x.item() < 1


def test_groups_wait_by_themselves() -> None:
    x, y = (torch.ones(1, requires_grad=True) for _ in range(2))
    optimizer = Adam2k([{"params": [x], "wait": 1}, {"params": [y]}], lr=0.1, wait=3)
    for _ in range(2):
        x.grad, y.grad = torch.ones(1), torch.ones(1)
        optimizer.step()
    assert x.item() < 1
    assert y.item() == 1


def test_a_large_epsilon_bounds_the_step() -> None:
    x = torch.zeros(1, requires_grad=True)
    optimizer = adam_eps([x], lr=1.0, eps=0.1)
    x.grad = torch.full((1,), 1e-6)
    optimizer.step()
    assert abs(x.item()) < 1e-4


def test_the_rate_warms_up_linearly() -> None:
    optimizer = torch.optim.Adam([torch.ones(1, requires_grad=True)], lr=2.0)
    schedule = warmup(optimizer, 4)
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
