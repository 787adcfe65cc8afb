"""CCU: probabilities, limits, and a certificate that no search inside the ball breaks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from iclr2020.uncertainty.ccu import CCU, Metric, Mixture, ccu_loss, log_normal

M = 4


def model(d: int = 3, seed: int = 0, ratio: float = 1.0) -> CCU:
    torch.manual_seed(seed)
    metric = Metric.whitening(torch.randn(200, d) @ torch.randn(d, d))
    inside = Mixture(torch.randn(3, d), torch.rand(3) + 0.3, torch.rand(3), metric)
    outside = Mixture(torch.randn(2, d), torch.rand(2) + 1.5, torch.rand(2), metric)
    base = nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, M))
    with torch.no_grad():
        base[2].weight.mul_(20)  # confident
    return CCU(base, inside, outside, ratio=ratio)


@given(st.floats(-50, 50), st.integers(0, 5))
@pytest.mark.float64
def test_probabilities_sum_to_1(scale: float, seed: int) -> None:
    found = model(seed=seed)(scale * torch.randn(6, 3))
    torch.testing.assert_close(found.logsumexp(1), torch.zeros(6), atol=1e-9, rtol=0)


def test_it_is_the_quotient_of_the_formula() -> None:
    one, x = model(ratio=0.7), torch.randn(6, 3)
    p = one.base(x).softmax(1)
    p_in, p_out = (mix.log_density(x).exp()[:, None] for mix in (one.inside, one.outside))
    wanted = (p * p_in + 0.7 / M * p_out) / (p_in + 0.7 * p_out)
    torch.testing.assert_close(one(x).exp(), wanted)


def test_where_only_the_inside_counts_it_is_the_base() -> None:
    one, x = model(ratio=1e-300), torch.randn(6, 3)
    torch.testing.assert_close(one(x), one.base(x).log_softmax(1))


def test_a_component_is_a_normal_distribution() -> None:
    metric = Metric(torch.tensor([[2.0, 0.5], [0.0, 1.0]]))
    mixture = Mixture(torch.tensor([[1.0, 2.0]]), torch.tensor([0.7]), torch.ones(1), metric)
    x = torch.randn(5, 2)
    white = MultivariateNormal(metric.matrix @ torch.tensor([1.0, 2.0]), 0.49 * torch.eye(2))
    torch.testing.assert_close(mixture.log_density(x), white.log_prob(x @ metric.matrix.T))


def test_far_away_it_is_uniform() -> None:
    one = model()
    assert one.is_uniform_far_away()
    x = 1e4 * torch.randn(20, 3)
    assert one.base(x).softmax(1).amax(1).mean() > 0.99
    torch.testing.assert_close(one(x).exp(), torch.full((20, M), 1 / M))


def test_without_a_wider_component_outside_that_is_not_promised() -> None:
    one = model()
    with torch.no_grad():
        one.outside.log_sigma.fill_(-3)
    assert not one.is_uniform_far_away()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("radius", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.float64
def test_no_search_inside_the_ball_breaks_the_certificate(seed: int, radius: float) -> None:
    one = model(seed=seed)
    x0 = torch.randn(8, 3) * 2
    bound = one.certificate(x0, torch.full((8,), radius), M)
    inverse = torch.linalg.inv(one.inside.metric.matrix)

    def inside(step: Tensor) -> Tensor:
        length = step.norm(dim=-1, keepdim=True)
        return (
            x0 + (step * (radius / length.clamp(min=radius)) if radius else 0 * step) @ inverse.T
        )

    for _ in range(30):  # random search
        found = one(inside(radius * torch.randn(8, 3))).exp().amax(1)
        assert (found <= bound + 1e-9).all()
    step = (0.1 * torch.randn(8, 3)).requires_grad_()
    for _ in range(40):  # ascent
        confidence = one(inside(step)).amax(1)
        assert (confidence.exp() <= bound + 1e-9).all()
        (gradient,) = torch.autograd.grad(confidence.sum(), step)
        step = (
            step + 0.2 * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-9)
        ).detach()
        step.requires_grad_()


def test_the_certificate_grows_with_the_ball_from_1_over_m_to_1() -> None:
    one, x = model(), 30 * torch.randn(5, 3)
    bounds = torch.stack(
        [one.certificate(x, torch.full((5,), r), M) for r in (0, 1, 10, 100, 1e3)]
    )
    assert bounds.diff(dim=0).ge(-1e-12).all()
    assert bounds.min() >= 1 / M - 1e-12
    assert bounds.max() <= 1 + 1e-12
    assert bounds[-1].min() > 0.99


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_784_dimensions_nothing_overflows(dtype: torch.dtype) -> None:
    d = 784
    metric = Metric(torch.eye(d, dtype=dtype))
    one = torch.ones(1, dtype=dtype)
    inside = Mixture(torch.zeros(1, d, dtype=dtype), 0.1 * one, one, metric)
    outside = Mixture(torch.zeros(1, d, dtype=dtype), one, one, metric)
    ccu = CCU(nn.Linear(d, M).to(dtype), inside, outside)
    x = torch.stack([torch.zeros(d), torch.full((d,), 10.0), torch.full((d,), 1e5)]).to(dtype)
    found = ccu(x)
    assert found.isfinite().all()
    torch.testing.assert_close(found[0], ccu.base(x)[0].log_softmax(0))
    torch.testing.assert_close(found[1:].exp(), torch.full((2, M), 1 / M, dtype=dtype))
    assert ccu.certificate(x, torch.ones(3, dtype=dtype), M).isfinite().all()


def test_the_loss_is_its_sums() -> None:
    log_p, log_q = (torch.randn(n, M).log_softmax(1) for n in (5, 7))
    labels = torch.tensor([0, 1, 2, 3, 0])
    inside = -sum(log_p[i, y] for i, y in enumerate(labels.tolist())) / 5
    outside = -sum(log_q[i, y] for i in range(7) for y in range(M)) / (7 * M)
    torch.testing.assert_close(ccu_loss(log_p, labels, log_q, ratio=0.5), inside + 0.5 * outside)


def test_a_whitening_metric_makes_data_white() -> None:
    x = torch.randn(500, 4) @ torch.randn(4, 4)
    metric = Metric.whitening(x, least=1e-9)
    torch.testing.assert_close(torch.cov((x @ metric.matrix.T).T), torch.eye(4))


def test_flat_directions_count_as_narrow_ones() -> None:
    x = torch.cat([torch.randn(100, 2), torch.zeros(100, 1)], 1)
    assert Metric.whitening(x).matrix.isfinite().all()


def test_a_fit_finds_the_parts() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    x = torch.cat([one + torch.randn(300, 2) for one in centres])
    mixture = Mixture.fit(x, 2, Metric(torch.eye(2)))
    means = mixture.means[mixture.means[:, 0].argsort()]
    torch.testing.assert_close(means, centres, atol=0.2, rtol=0)
    torch.testing.assert_close(mixture.log_sigma.exp(), torch.ones(2), atol=0.1, rtol=0)
    double = Mixture.fit(x, 2, Metric(2 * torch.eye(2)))
    found = double.means[double.means[:, 0].argsort()]
    torch.testing.assert_close(found, centres, atol=0.2, rtol=0)
    torch.testing.assert_close(double.log_sigma.exp(), 2 * torch.ones(2), atol=0.2, rtol=0)


def test_the_density_at_a_distance() -> None:
    found = log_normal(torch.tensor([2.0]), torch.tensor([math.log(3.0)]), 2)
    wanted = -0.5 * (2 / 3) ** 2 - 2 * math.log(3 * math.sqrt(2 * math.pi))
    assert found.item() == pytest.approx(wanted)


def test_what_cannot_be_is_told() -> None:
    metric = Metric(torch.eye(2))
    with pytest.raises(ValueError, match=r"sigma: expected shape \(K=1\), got \(2,\)"):
        Mixture(torch.zeros(1, 2), torch.ones(2), torch.ones(1), metric)
    mixture = Mixture(torch.zeros(1, 2), torch.ones(1), torch.ones(1), metric)
    with pytest.raises(ValueError, match="ratio: expected a number above 0"):
        CCU(nn.Linear(2, 2), mixture, mixture, ratio=0.0)
