"""Equivariant layers against their formula with the matrix of ones, and a plain linear layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor, nn

from iclr2020.sets.equivariant import EquivariantLinear

BATCH, FEATURES = 32, 64


def _inputs(n: int) -> tuple[EquivariantLinear, Tensor]:
    torch.manual_seed(0)
    return EquivariantLinear(FEATURES, FEATURES), torch.randn(BATCH, n, FEATURES)


def formula(layer: EquivariantLinear, x: Tensor) -> Tensor:
    """X A + (1/n) 1 1^T X B + 1 c^T."""
    assert layer.mean is not None
    ones = torch.ones(x.shape[1], x.shape[1])
    return x @ layer.own.T + (ones @ x / x.shape[1]) @ layer.mean.T + layer.bias


def _rivals(n: int) -> Mapping[str, Work]:
    layer, x = _inputs(n)
    plain = nn.Linear(FEATURES, FEATURES)
    return {
        "EquivariantLinear": lambda: layer(x).sum().backward(),
        "formula": lambda: formula(layer, x).sum().backward(),
        "nn.Linear": lambda: plain(x).sum().backward(),
    }


def _same(n: int) -> None:
    layer, x = _inputs(n)
    torch.testing.assert_close(layer(x), formula(layer, x), rtol=1e-3, atol=1e-3)


BENCHMARKS = [
    Benchmark(
        "Equivariant layer, forward and backward",
        "elements",
        (16, 128, 512),
        _rivals,
        same=_same,
        why="nn.Linear lacks the transform of the mean",
    )
]
