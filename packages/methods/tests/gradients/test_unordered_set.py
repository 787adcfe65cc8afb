"""The unordered-set estimator: all sets of a small world, counted."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iclr2020.gradients.unordered_set import (
    log_p_set,
    log_ratios,
    sample_without_replacement,
    second_log_ratios,
    unordered_set_estimate,
    unordered_set_surrogate,
)

N = 6
F = torch.tensor([5.0, 2.0, 4.5, 7.0, 3.0, 6.0], dtype=torch.float64)


def make_logits(seed: int = 0, n: int = N, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, generator=generator, dtype=torch.float64)
    return logits.requires_grad_()


def sets(k: int, n: int = N) -> Tensor:
    return torch.tensor(list(itertools.combinations(range(n), k)))


def by_hand(p: list[float]) -> float:
    total = 0.0
    for order in itertools.permutations(p):
        product, left = 1.0, 1.0
        for one in order:
            product *= one / left
            left -= one
        total += product
    return total


KS = pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
BYS = pytest.mark.parametrize("by", ["orders", "integral"])


@KS
@BYS
@pytest.mark.float64
def test_the_sets_of_a_size_have_all_of_the_probability(k: int, by: str) -> None:
    p = make_logits().softmax(-1).detach()[sets(k)]
    found = log_p_set(p.log(), by=by).exp()
    wanted = torch.tensor([by_hand(one.tolist()) for one in p])
    torch.testing.assert_close(found, wanted.double(), rtol=1e-9, atol=1e-12)
    assert found.sum().item() == pytest.approx(1, abs=1e-9)


@KS
@BYS
def test_the_weights_of_a_set_sum_to_1(k: int, by: str) -> None:
    p = make_logits().softmax(-1).detach()[sets(k)]
    weights = p * log_ratios(p.log(), by=by).exp()
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(p), dtype=torch.float64))


@KS
@BYS
def test_the_estimate_is_unbiased(k: int, by: str) -> None:
    p = make_logits().softmax(-1).detach()
    chosen = sets(k)
    log_p = p.log()[chosen]
    estimates = unordered_set_estimate(log_p, F[chosen], by=by)
    expected = (log_p_set(log_p, by=by).exp() * estimates).sum()
    torch.testing.assert_close(expected, (p * F).sum())


@KS
@BYS
@pytest.mark.parametrize("baseline", [True, False])
def test_the_gradient_is_unbiased(k: int, by: str, baseline: bool) -> None:
    logits = make_logits()
    chosen = sets(k)
    log_p = logits.log_softmax(-1)[chosen]
    losses = unordered_set_surrogate(log_p, F[chosen], baseline=baseline, by=by)
    chance = log_p_set(log_p.detach()).exp()
    (found,) = torch.autograd.grad((chance * losses).sum(), logits)
    (wanted,) = torch.autograd.grad((logits.softmax(-1) * F).sum(), logits)
    torch.testing.assert_close(found, wanted)


def gradients(k: int, **options: bool) -> tuple[Tensor, Tensor]:
    """Of each set, and the sets' probabilities."""
    logits, chosen = make_logits(), sets(k)
    log_p = logits.log_softmax(-1)[chosen]
    losses = unordered_set_surrogate(log_p, F[chosen], **options)
    found = [torch.autograd.grad(one, logits, retain_graph=True)[0] for one in losses]
    return torch.stack(found), log_p_set(log_p.detach()).exp()


def variance(k: int, **options: bool) -> float:
    found, chance = gradients(k, **options)
    mean = chance @ found
    return float(chance @ (found - mean).square().sum(1))


def test_the_baseline_takes_most_of_the_variance_away() -> None:
    assert variance(3) < variance(3, baseline=False) / 4


def test_more_samples_have_less_variance() -> None:
    values = [variance(k) for k in range(2, N + 1)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0, abs=1e-12)


def test_all_categories_make_it_exact() -> None:
    logits = make_logits()
    (found,) = torch.autograd.grad(unordered_set_surrogate(logits.log_softmax(-1), F), logits)
    (wanted,) = torch.autograd.grad((logits.softmax(-1) * F).sum(), logits)
    torch.testing.assert_close(found, wanted)


def test_one_sample_is_reinforce() -> None:
    logits = make_logits()
    log_p = logits.log_softmax(-1)[:, None]
    losses = unordered_set_surrogate(log_p, F[:, None])
    for s in range(N):
        (found,) = torch.autograd.grad(losses[s], logits, retain_graph=True)
        (wanted,) = torch.autograd.grad(logits.log_softmax(-1)[s] * F[s], logits)
        torch.testing.assert_close(found, wanted)


def test_a_gradient_through_the_cost_counts_too() -> None:
    logits, theta = make_logits(), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    chosen = sets(3)
    log_p = logits.log_softmax(-1)[chosen]
    losses = unordered_set_surrogate(log_p, (theta * F)[chosen])
    chance = log_p_set(log_p.detach()).exp()
    (found,) = torch.autograd.grad((chance * losses).sum(), theta)
    torch.testing.assert_close(found, (logits.softmax(-1) * F).sum().detach())


@pytest.mark.parametrize("k", [7, 12, 40])
def test_beyond_what_can_be_counted_the_weights_still_sum_to_1(k: int) -> None:
    p = make_logits(3, 100).softmax(-1).detach()[:k]
    assert (p * log_ratios(p.log()).exp()).sum().item() == pytest.approx(1, abs=1e-8)


@given(
    st.lists(st.floats(0.001, 1), min_size=3, max_size=6), st.floats(1e-4, 0.9), st.integers(2, 5)
)
def test_the_integral_is_the_count(weights: list[float], rest: float, k: int) -> None:
    p = torch.tensor(weights, dtype=torch.float64)
    p = (p / p.sum() * (1 - rest))[:k]
    torch.testing.assert_close(
        log_p_set(p.log(), by="integral"), log_p_set(p.log(), by="orders"), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@BYS
def test_where_nearly_all_of_the_mass_was_drawn_nothing_breaks(
    by: str, dtype: torch.dtype
) -> None:
    logits = torch.tensor([20.0, 19.0, 18.0, -20.0], dtype=dtype, requires_grad=True)
    log_p = logits.log_softmax(-1)[:3]
    loss = unordered_set_surrogate(log_p, torch.tensor([1.0, 2.0, 3.0], dtype=dtype), by=by)
    (found,) = torch.autograd.grad(loss, logits)
    assert found.isfinite().all()
    (wanted,) = torch.autograd.grad(
        (logits.softmax(-1)[:3] * torch.tensor([1.0, 2.0, 3.0], dtype=dtype)).sum(), logits
    )
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_second_ratios_are_those_of_the_definition() -> None:
    p = make_logits().softmax(-1).detach()[:4].tolist()
    found = second_log_ratios(torch.tensor(p, dtype=torch.float64).log()).exp()

    def p_without(drawn: list[float], gone: float) -> float:
        return by_hand([one / (1 - gone) for one in drawn]) if drawn else 1.0

    for s, t in itertools.product(range(4), range(4)):
        both = [p[i] for i in range(4) if i not in (s, t)]
        one = [p[i] for i in range(4) if i != s]
        wanted = 1.0 if s == t else p_without(both, p[s] + p[t]) / p_without(one, p[s])
        assert found[s, t].item() == pytest.approx(wanted, rel=1e-9)


def test_draws_come_as_often_as_they_should() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = make_logits(1, 4).detach()
    drawn = (
        sample_without_replacement(logits.expand(40_000, 4), 2, generator=generator)
        .sort(-1)
        .values
    )
    chosen = sets(2, 4)
    chance = log_p_set(logits.log_softmax(-1)[chosen]).exp()
    for pair, wanted in zip(chosen, chance, strict=True):
        seen = (drawn == pair).all(-1).double().mean().item()
        assert seen == pytest.approx(wanted.item(), abs=4 * math.sqrt(0.25 / 40_000))


def test_what_cannot_be_drawn_is_not() -> None:
    logits = torch.tensor([0.0, -math.inf, 0.0])
    assert 1 not in sample_without_replacement(logits.expand(50, 3), 2)


@pytest.mark.parametrize("k", [0, 4])
def test_how_many_cannot_be_drawn_is_told(k: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to 3, got {k}"):
        sample_without_replacement(torch.zeros(3), k)


def test_an_unknown_way_is_told() -> None:
    with pytest.raises(ValueError, match="expected auto, orders or integral, got 'guess'"):
        log_p_set(torch.tensor([0.5]).log(), by="guess")


def test_costs_of_another_shape_are_told() -> None:
    with pytest.raises(ValueError, match=r"f: expected shape \(2, 3\), got \(3,\)"):
        unordered_set_surrogate(torch.full((2, 3), -2.0), torch.ones(3))
