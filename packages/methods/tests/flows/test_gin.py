"""GIN: volumes, inverses, and latents that are found again."""

from __future__ import annotations

import pytest
import torch
from FrEIA.modules import GINCouplingBlock
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iclr2020.flows.gin import (
    GIN,
    GINCoupling,
    class_deviations,
    gin_loss,
    spectrum,
    volume_preserving,
)


def moved(flow: GIN | GINCoupling, by: float = 0.1) -> GIN | GINCoupling:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return flow


@pytest.mark.parametrize("features", [2, 3, 10])
@pytest.mark.float64
def test_volumes_are_kept(features: int) -> None:
    flow = moved(GIN(features, layers=4, width=16))
    for x in torch.randn(5, features):
        jacobian = torch.func.jacrev(lambda one: flow(one[None])[0])(x)
        assert torch.linalg.slogdet(jacobian).logabsdet.abs() < 1e-8


@pytest.mark.parametrize("features", [2, 3, 10])
def test_the_inverse_undoes_it(features: int) -> None:
    flow, x = moved(GIN(features, layers=6, width=16)), torch.randn(20, features)
    torch.testing.assert_close(flow.inverse(flow(x)), x)
    torch.testing.assert_close(flow(flow.inverse(x)), x)


def test_it_begins_as_a_permutation() -> None:
    flow, x = GIN(5, layers=3), torch.randn(4, 5)
    torch.testing.assert_close(flow(x).sort(1).values, x.sort(1).values)


def test_a_coupling_is_its_formula() -> None:
    layer, x = moved(GINCoupling(5, 8)), torch.randn(4, 5)
    assert isinstance(layer, GINCoupling)
    a, b = x[:, :2], x[:, 2:]

    def scale_and_shift(raw: Tensor) -> tuple[Tensor, Tensor]:
        s, t = raw[:, : raw.shape[1] // 2], raw[:, raw.shape[1] // 2 :]
        s = 2 * 0.636 * torch.atan(s)
        return (s - s.mean(1, keepdim=True)).exp(), t

    scale, shift = scale_and_shift(layer.first(b))
    a = a * scale + shift
    scale, shift = scale_and_shift(layer.second(a))
    torch.testing.assert_close(layer(x), torch.cat([a, b * scale + shift], 1))


@pytest.mark.parametrize("features", [4, 7, 10])
def test_a_coupling_is_that_of_freia(features: int) -> None:
    layer, x = moved(GINCoupling(features, 8)), torch.randn(6, features)
    assert isinstance(layer, GINCoupling)
    nets = iter((layer.second, layer.first))
    theirs = GINCouplingBlock(
        [(features,)], subnet_constructor=lambda *_: next(nets), split_len=features // 2
    )
    ((y,), log_determinant) = theirs([x])
    torch.testing.assert_close(layer(x), y)
    ((back,), _) = theirs([y], rev=True)
    torch.testing.assert_close(layer.inverse(y), back)
    assert log_determinant == 0


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8))
def test_log_scales_sum_to_0_and_are_bounded(raw: list[float]) -> None:
    s = volume_preserving(torch.tensor(raw, dtype=torch.float64))
    assert abs(s.sum()) < 1e-12
    assert s.abs().max() < 4


def test_deviations_are_those_of_each_class() -> None:
    z, u = torch.randn(50, 3), torch.arange(50) % 4
    wanted = torch.stack([z[u == one].std(0, correction=0) for one in range(4)])
    torch.testing.assert_close(class_deviations(z, u, 4), wanted)


def test_a_class_of_one_counts_for_nothing() -> None:
    z, u = torch.randn(9, 2), torch.tensor([0] * 8 + [2])
    torch.testing.assert_close(gin_loss(z, u, 3), z[:8].std(0, correction=0).log().mean())


def test_classes_of_one_example_are_told() -> None:
    with pytest.raises(ValueError, match="at least 2 examples, got 3 of 1 each"):
        gin_loss(torch.randn(3, 2), torch.arange(3), 3)


def test_the_loss_is_the_gaussian_likelihood_up_to_a_constant() -> None:
    z, u = torch.randn(40, 3) * torch.tensor([1.0, 2.0, 0.1]), torch.arange(40) % 2
    sigma = class_deviations(z, u, 2)
    mean = torch.stack([z[u == one].mean(0) for one in range(2)])
    log_p = torch.distributions.Normal(mean[u], sigma[u]).log_prob(z)
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi)) + 0.5
    torch.testing.assert_close(-log_p.mean(), gin_loss(z, u, 2) + constant)


def test_the_latent_that_carries_information_is_found() -> None:
    """One of three, turned; the experiment has two of ten, bent."""
    torch.manual_seed(1)
    u = torch.arange(600) % 4
    latent = torch.tensor([-6.0, -2.0, 2.0, 6.0])[u] + (0.3 + u) * torch.randn(600)
    x = torch.cat([latent[:, None], 0.05 * torch.randn(600, 2)], 1)
    flow = GIN(3, layers=2, width=16)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.02)
    turned = x @ torch.linalg.qr(torch.randn(3, 3)).Q
    for _ in range(200):
        optimizer.zero_grad()
        gin_loss(flow(turned), u, 4).backward()
        optimizer.step()
    z = flow(turned).detach()
    values, order = spectrum(z)
    assert values[0] > 5 * values[1]
    together = torch.corrcoef(torch.stack([z[:, order[0]], latent]))[0, 1]
    assert together.abs() > 0.9


def test_new_parameters_begin_as_the_identity_again() -> None:
    flow, x = moved(GIN(4, layers=2)), torch.randn(3, 4)
    flow.reset_parameters()
    torch.testing.assert_close(flow(x).sort(1).values, x.sort(1).values)


def test_too_few_dimensions_are_told() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        GIN(1)
