"""Scores and gradients of information of distributions whose own are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from iclr2020.information.mige import (
    entropy_surrogate,
    median_width,
    mutual_information_surrogate,
    random_projection,
    stein_score,
)


def looped(samples: Tensor, at: Tensor, share: float) -> Tensor:
    """The estimator as it is written down, sum by sum."""
    m = len(samples)
    pairs = [(samples[i] - samples[j]).norm() for i in range(m) for j in range(i)]
    h = torch.stack(pairs).median()

    def k(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-(x - y).square().sum() / (2 * h**2))

    gram = torch.stack([torch.stack([k(x, y) for y in samples]) for x in samples])
    values, vectors = torch.linalg.eigh(gram)
    order = values.argsort(descending=True)
    values, vectors = values[order], vectors[:, order]
    j = int((values.cumsum(0) / values.sum() < share).sum()) + 1

    def psi(x: Tensor) -> Tensor:
        row = torch.stack([k(x, y) for y in samples])
        return m**0.5 * (row @ vectors[:, :j]) / values[:j]

    jacobians = torch.stack([torch.func.jacrev(psi)(x) for x in samples])  # (m, j, d)
    beta = -jacobians.mean(0)
    return torch.stack([psi(x) @ beta for x in at])


@pytest.mark.float64
def test_it_is_the_estimator_as_it_is_written_down() -> None:
    samples, at = torch.randn(20, 3), torch.randn(5, 3)
    torch.testing.assert_close(stein_score(samples, at), looped(samples, at, 0.99))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_score_of_a_normal_distribution(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 2, dtype=dtype)
    found = stein_score(x)
    together = torch.corrcoef(torch.stack([found.flatten(), -x.flatten()]))[0, 1]
    assert together > 0.9
    assert found.dtype == dtype


@pytest.mark.float64
def test_it_moves_and_scales_with_the_samples() -> None:
    x = torch.randn(60, 2)
    torch.testing.assert_close(stein_score(x + 100), stein_score(x), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(stein_score(3 * x), stein_score(x) / 3)


def test_the_score_of_a_mixture_changes_its_sign_between_the_parts() -> None:
    torch.manual_seed(0)
    x = torch.cat([torch.randn(300, 1) * 0.5 - 2, torch.randn(300, 1) * 0.5 + 2])
    found = stein_score(x, torch.tensor([[-2.7], [-1.3], [1.3], [2.7]]), width=0.8).flatten()
    assert found.sign().tolist() == [1, -1, 1, -1]


def correlated(rho: Tensor, d: int, m: int) -> tuple[Tensor, Tensor]:
    x, noise = torch.randn(m, d), torch.randn(m, d)
    return x, rho * x + (1 - rho**2).sqrt() * noise


@pytest.mark.parametrize("at", [-0.6, -0.3, 0.3, 0.6])
def test_the_gradient_of_the_information_of_correlated_normals(at: float) -> None:
    """I = -d/2 log(1 - rho^2), so its derivative is d rho / (1 - rho^2)."""
    torch.manual_seed(0)
    found = []
    for _ in range(8):
        rho = torch.tensor(at, requires_grad=True)
        mutual_information_surrogate(*correlated(rho, 4, 256)).backward()
        assert rho.grad is not None
        found.append(rho.grad.item())
    wanted = 4 * at / (1 - at**2)
    assert sum(found) / len(found) == pytest.approx(wanted, rel=0.25)


def test_the_entropy_of_a_wider_distribution_is_larger() -> None:
    """H = d log s + const, so its derivative is d / s."""
    torch.manual_seed(0)
    s = torch.tensor(2.0, requires_grad=True)
    entropy_surrogate(s * torch.randn(400, 2)).backward()
    assert s.grad is not None
    assert s.grad.item() == pytest.approx(2 / 2, rel=0.2)


def test_inputs_with_a_gradient_count_as_well() -> None:
    x, z = torch.randn(30, 2, requires_grad=True), torch.randn(30, 2, requires_grad=True)
    mutual_information_surrogate(x, z).backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, stein_score(torch.cat([x, z], 1))[:, :2] / 30)


def test_samples_that_are_all_the_same_break_nothing() -> None:
    assert stein_score(torch.ones(5, 2)).abs().max() < 1e-6
    assert median_width(torch.ones(3, 1)) == 1


def test_repeated_samples_break_nothing() -> None:
    x = torch.randn(20, 2).repeat(3, 1)
    assert stein_score(x, share=1.0).isfinite().all()


def test_one_sample_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        stein_score(torch.ones(1, 2))


@pytest.mark.parametrize("options", [{"share": 0.0}, {"share": 1.5}, {"width": 0.0}])
def test_what_is_out_of_range_is_told(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        stein_score(torch.randn(5, 2), **options)


def test_shapes_that_do_not_match_are_told() -> None:
    with pytest.raises(ValueError, match=r"at: expected shape \(N, d=2\), got \(4, 3\)"):
        stein_score(torch.randn(5, 2), torch.randn(4, 3))
    with pytest.raises(ValueError, match=r"z: expected shape \(M=5, e\), got \(4, 2\)"):
        mutual_information_surrogate(torch.randn(5, 2), torch.randn(4, 2))


def test_a_projection_keeps_distances_on_average() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 400)
    before, after = (torch.nn.functional.pdist(one).square().mean() for one in
                     (x, random_projection(x, 200)))  # fmt: skip
    assert (after / before).item() == pytest.approx(1, abs=0.1)
