"""Flows: the change of variables by Jacobians, mass, moments, and pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import iclr2020
from iclr2020.flows import normalizing
from iclr2020.flows.normalizing import (
    autoregressive,
    bits_per_dimension,
    check_flow,
    dequantize,
    logit,
    mass,
    nice,
    real_nvp,
)

Make = Callable[..., Any]


def lu(*arguments: int, **options: int) -> nn.Module:
    return real_nvp(*arguments, lu=True, **options)


ALL = pytest.mark.parametrize("make", [nice, real_nvp, lu, autoregressive])


def moved(flow: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return flow


@ALL
@pytest.mark.parametrize("features", [2, 3, 5])
@pytest.mark.float64
def test_every_flow_keeps_to_the_change_of_variables(make: Make, features: int) -> None:
    flow = moved(make(features, layers=3, width=16))
    errors = check_flow(flow, torch.randn(4, features))
    assert max(errors) < 1e-8


@ALL
@pytest.mark.float64
def test_with_a_context_too(make: Make) -> None:
    flow = moved(make(3, 2, layers=2, width=16))
    x, context = torch.randn(4, 3), torch.randn(4, 2)
    assert max(check_flow(flow, x, context)) < 1e-8
    densities = flow(context).log_prob(x)
    assert not torch.allclose(densities, flow(context.flip(0)).log_prob(x))


@ALL
def test_its_mass_is_1(make: Make) -> None:
    assert mass(moved(make(2, layers=2, width=16)), -12, 12, 300) == pytest.approx(1, abs=0.02)


@ALL
def test_samples_have_the_density(make: Make) -> None:
    """The mean of p_other / p over samples of p is 1, whatever the other density is."""
    flow = moved(make(2, layers=2, width=16))
    torch.manual_seed(1)
    x = flow().sample((20_000,))
    other = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T) * 0.3)
    ratio = (other.log_prob(x) - flow().log_prob(x)).exp()
    assert ratio.mean().item() == pytest.approx(1, abs=0.1)


def test_nice_keeps_volumes_but_for_its_scales() -> None:
    flow = moved(nice(4, layers=3, width=8))
    scales = [p for name, p in flow.named_parameters() if "scale" in name or p.shape == (4,)]
    x = torch.randn(3, 4)
    _, log_det = flow().transform.call_and_ladj(x)
    torch.testing.assert_close(log_det, log_det[:1].expand(3))
    assert scales


def test_a_wrong_determinant_would_be_seen() -> None:
    flow = moved(real_nvp(2, layers=1, width=8))

    class Broken(nn.Module):
        def forward(self, context: Tensor | None = None) -> Any:
            distribution = flow(context)
            right = distribution.transform.call_and_ladj

            class Transform:
                inv = distribution.transform.inv

                def __call__(self, x: Tensor) -> Tensor:
                    return distribution.transform(x)

                def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
                    z, log_det = right(x)
                    return z, log_det + 0.1

            class Distribution:
                transform, base = Transform(), distribution.base

                def log_prob(self, x: Tensor) -> Tensor:
                    return distribution.log_prob(x)

            return Distribution()

    assert check_flow(Broken(), torch.randn(2, 2)).log_det == pytest.approx(0.1, abs=1e-6)


@pytest.mark.float64
def test_a_flow_learns_two_moons() -> None:
    from sklearn.datasets import make_moons

    torch.manual_seed(0)
    x = torch.tensor(make_moons(1000, noise=0.1, random_state=0)[0])
    flow = real_nvp(2, layers=4, width=32)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.005)
    before = flow().log_prob(x).mean().item()
    for _ in range(250):
        optimizer.zero_grad()
        loss = -flow().log_prob(x).mean()
        loss.backward()
        optimizer.step()
    normal = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    assert -loss.item() > normal.log_prob(x).mean().item() + 0.3
    assert -loss.item() > before + 0.5


@given(st.integers(2, 300), st.integers(0, 10_000))
def test_noise_never_changes_a_pixel(levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, levels, (50,), generator=generator)
    x = dequantize(pixels, levels, generator=generator)
    assert torch.equal((x * levels).floor().long(), pixels)
    assert x.min() >= 0
    assert x.max() < 1


@pytest.mark.parametrize("levels", [17, 256, 4096])
def test_no_rounding_makes_the_next_pixel_of_one(levels: int) -> None:
    """The noise is below 1, but its sum with a pixel would be rounded to the next one."""
    pixels = torch.arange(levels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 1 - 2.0**-24))
        torch.set_default_dtype(torch.float32)
        x = dequantize(pixels, levels)
    assert torch.equal((x * levels).floor().long(), pixels)


def test_more_levels_than_the_numbers_have_are_told() -> None:
    torch.set_default_dtype(torch.float32)
    with pytest.raises(ValueError, match=r"few enough for torch\.float32, got 65536"):
        dequantize(torch.zeros(3), 65536)


def test_what_is_no_number_is_an_error() -> None:
    flow = moved(nice(2, layers=1, width=8))
    errors = check_flow(flow, torch.tensor([[math.nan, 0.0], [0.0, 0.0]]))
    assert max(errors) == math.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mass_is_in_the_flows_own_numbers(dtype: torch.dtype) -> None:
    assert mass(real_nvp(2).to(dtype), -8, 8, 100) == pytest.approx(1, abs=0.02)


@pytest.mark.float64
def test_linear_layers_are_l_times_u() -> None:
    flow = moved(real_nvp(3, layers=1, width=8, lu=True))
    (matrix,) = [p for p in flow.parameters() if p.shape == (3, 3)]
    linear = flow.transform.transforms[0]()  # type: ignore[union-attr, operator]
    x = torch.randn(5, 3)
    lower, upper = matrix.tril(), matrix.triu(1) + torch.eye(3)
    y, log_det = linear.call_and_ladj(x)
    torch.testing.assert_close(y, x @ (lower @ upper).T)
    torch.testing.assert_close(log_det, matrix.diagonal().abs().log().sum().expand(5))


def test_a_uniform_density_takes_all_bits_and_a_sharp_one_fewer() -> None:
    assert bits_per_dimension(torch.zeros(2), 10).tolist() == [8, 8]
    assert bits_per_dimension(torch.tensor([10 * math.log(2.0)]), 10, 4).item() == pytest.approx(1)


def test_the_bits_of_dequantised_pixels_are_at_least_their_entropy() -> None:
    """Pixels of 4 levels with known chances: a density that is flat in each meets the bound."""
    chances = torch.tensor([0.5, 0.25, 0.125, 0.125])
    pixels = torch.multinomial(chances, 50_000, replacement=True)
    x = dequantize(pixels, 4)
    log_density = (4 * chances)[(x * 4).long()].log()
    found = bits_per_dimension(log_density, 1, 4).mean().item()
    assert found == pytest.approx(1.75, abs=0.02)
    smooth = torch.distributions.Beta(torch.tensor(0.8), torch.tensor(1.5)).log_prob(x)
    assert bits_per_dimension(smooth, 1, 4).mean().item() > 1.75


def test_logit_and_its_determinant() -> None:
    x = torch.rand(5, 3)
    y, log_det = logit(x)
    for index, one in enumerate(x):
        jacobian = torch.autograd.functional.jacobian(lambda v: logit(v[None])[0][0], one)
        torch.testing.assert_close(log_det[index], torch.linalg.slogdet(jacobian).logabsdet)
    torch.testing.assert_close(y.sigmoid(), 1e-4 + (1 - 2e-4) * x)
    assert logit(torch.tensor([[0.0, 1.0]]))[0].isfinite().all()


def test_too_few_dimensions_are_told() -> None:
    with pytest.raises(ValueError, match="at least 2 to couple, got 1"):
        real_nvp(1)


def test_the_papers_are_cited() -> None:
    assert {one.key for one in iclr2020.references(normalizing)} >= {"dinh2014nice"}
