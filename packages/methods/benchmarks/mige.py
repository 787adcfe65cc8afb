"""The score estimator over samples, against its sums with the gradients of all pairs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor

from iclr2020.information.mige import median_width, stein_score

D = 16


def _x(samples: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(samples, D, dtype=torch.float64)


def all_pairs(x: Tensor) -> Tensor:
    """With the gradient of the kernel for each pair, (M, M, d), as implementations have it."""
    m, h = len(x), median_width(x)
    difference = x[:, None] - x[None]
    gram = (-difference.square().sum(-1) / (2 * h**2)).exp()
    gradients = -difference * gram[..., None] / h**2
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0), vectors.flip(1)
    j = int((values.cumsum(0) / values.sum() < 0.99).sum()) + 1
    values, vectors = values[:j], vectors[:, :j]
    psi = m**0.5 * gram @ vectors / values
    beta = -(m**0.5) * torch.einsum("mj,nmd->jnd", vectors, gradients).mean(1) / values[:, None]
    return psi @ beta


def _rivals(samples: int) -> Mapping[str, Work]:
    x = _x(samples)
    return {
        "stein_score": lambda: stein_score(x),
        "all pairs": lambda: all_pairs(x),
        "eigh alone": lambda: torch.linalg.eigh(x @ x.T),
    }


def _same(samples: int) -> None:
    torch.testing.assert_close(stein_score(_x(samples)), all_pairs(_x(samples)))


BENCHMARKS = [
    Benchmark(
        "Spectral Stein gradient estimator",
        "samples",
        (64, 256, 1024),
        _rivals,
        same=_same,
        why="beside the eigenvectors there are the kernel and its median distance",
    )
]
