"""SUMO: expectations summed exactly over K, and a model whose likelihood is known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from iclr2020.generative.sumo import iwae_bounds, sample_terms, sumo, survival


def chances(most: int) -> Tensor:
    """P(K = 1), ..., P(K = most), and what is left."""
    tail = survival(torch.arange(1, most + 2))
    return torch.cat([tail[:-1] - tail[1:], tail[-1:]])


@pytest.mark.parametrize("least", [1, 3])
def test_its_mean_over_k_is_the_last_bound(least: int) -> None:
    """With K cut off at `most` the sum telescopes to the bound of least + most samples."""
    most = 30
    log_w = torch.randn(least + most, 1)
    terms = torch.arange(1, most + 1)
    values = torch.stack([sumo(log_w, k[None], least=least)[0] for k in terms])
    chance = chances(most)
    chance = torch.cat([chance[: most - 1], chance[most - 1 :].sum()[None]])  # P(K >= most) last
    torch.testing.assert_close((chance * values).sum(), iwae_bounds(log_w)[-1, 0])


def test_the_cost_of_a_sample_is_as_documented() -> None:
    tail = survival(torch.arange(1, 2000))
    assert tail.sum().item() == pytest.approx(5.078, abs=2e-3)


def test_k_is_drawn_by_the_tail() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = sample_terms(200_000, generator=generator)
    assert drawn.min() == 1
    for j in (1, 2, 3, 10, 50, 79, 80, 81, 90):
        wanted = survival(torch.tensor([j])).item()
        seen = (drawn >= j).double().mean().item()
        assert seen == pytest.approx(wanted, abs=4 * math.sqrt(wanted / 200_000) + 1e-12)


def test_it_estimates_a_known_likelihood_without_bias() -> None:
    """z ~ N(0, 1), x | z ~ N(z, 1): x ~ N(0, 2); the bound of as many samples is biased."""
    torch.manual_seed(0)
    count = 40_000
    x = torch.randn(count) * 2**0.5
    truth = Normal(0.0, 2**0.5).log_prob(x)
    q = Normal(x / 2 + 0.4, 0.8)
    terms = sample_terms(count)
    z = q.sample((1 + int(terms.max()),))
    log_w = Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(x) - q.log_prob(z)
    error = sumo(log_w, terms) - truth
    assert abs(error.mean()) < 3 * error.std() / count**0.5
    bound = iwae_bounds(log_w[:6])[-1] - truth
    assert bound.mean() < -5 * bound.std() / count**0.5


def test_its_gradient_is_unbiased_too() -> None:
    """One binary latent, so that the mean over z, and then over K, can be summed exactly."""
    theta = torch.tensor(0.3, requires_grad=True)
    most = 6

    def log_joint(z: Tensor) -> Tensor:  # p(z = 1) = sigmoid(theta), p(x | z) = 0.9 or 0.2
        prior = torch.nn.functional.logsigmoid(torch.where(z == 1, theta, -theta))
        return prior + torch.where(z == 1, 0.9, 0.2).log()

    total = torch.zeros(())
    for code in range(2 ** (1 + most)):
        z = torch.tensor([code >> i & 1 for i in range(1 + most)])
        log_w = (log_joint(z) - math.log(0.5))[:, None]
        chance = chances(most)
        chance = torch.cat([chance[: most - 1], chance[most - 1 :].sum()[None]])
        for k, p in enumerate(chance.tolist(), 1):
            total = total + 0.5 ** (1 + most) * p * sumo(log_w, torch.tensor([k]))[0]
    (found,) = torch.autograd.grad(total, theta)
    bounds = torch.zeros(())
    for code in range(2 ** (1 + most)):
        z = torch.tensor([code >> i & 1 for i in range(1 + most)])
        log_w = (log_joint(z) - math.log(0.5))[:, None]
        bounds = bounds + 0.5 ** (1 + most) * iwae_bounds(log_w)[-1, 0]
    (wanted,) = torch.autograd.grad(bounds, theta)
    torch.testing.assert_close(found, wanted)


@given(st.integers(1, 12), st.integers(0, 10_000))
def test_a_batch_is_a_loop(batch: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    terms = sample_terms(batch, generator=generator)
    log_w = torch.randn(2 + int(terms.max()), batch, generator=generator, dtype=torch.float64)
    found = sumo(log_w, terms, least=2)
    for i, k in enumerate(terms.tolist()):
        alone = sumo(log_w[: 2 + k, i : i + 1], terms[i : i + 1], least=2)
        torch.testing.assert_close(found[i : i + 1], alone)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=12))
def test_bounds_of_the_same_weights_are_the_log_of_their_mean(values: list[float]) -> None:
    log_w = torch.tensor(values, dtype=torch.float64)
    means = log_w.exp().cumsum(0) / torch.arange(1, len(values) + 1)
    torch.testing.assert_close(iwae_bounds(log_w), means.log())


def test_bounds_grow_on_average() -> None:
    torch.manual_seed(0)
    mean = iwae_bounds(torch.randn(8, 50_000)).mean(1)
    assert mean.diff().gt(0).all()


def test_samples_beyond_k_have_no_effect_and_no_gradient() -> None:
    log_w = torch.randn(6, 2, requires_grad=True)
    terms = torch.tensor([2, 5])
    sumo(log_w, terms).sum().backward()
    assert log_w.grad is not None
    assert log_w.grad[3:, 0].eq(0).all()
    assert log_w.grad[:, 1].ne(0).all()


def test_too_few_samples_are_told() -> None:
    with pytest.raises(ValueError, match="= 4 rows, got 3"):
        sumo(torch.zeros(3, 1), torch.tensor([3]))


def test_shapes_are_told() -> None:
    with pytest.raises(ValueError, match=r"terms: expected shape \(batch=2\), got \(3,\)"):
        sumo(torch.zeros(9, 2), torch.tensor([1, 1, 1]))
