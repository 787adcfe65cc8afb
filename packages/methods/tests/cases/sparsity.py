"""Sparsity normalization."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iclr2020.normalization.sparsity import SparsityNorm

from . import Case


def _make() -> nn.Module:
    norm = SparsityNorm(3).fit(torch.tensor([[True, False, True], [True, True, True]]))
    return nn.Sequential(norm, nn.Linear(3, 2))


def _x() -> tuple[Tensor, ...]:
    return (torch.randn(4, 3),)


def _wrong() -> tuple[Tensor, ...]:
    return (torch.randn(4, 2),)


CASES = [Case("SparsityNorm", _make, _x, _wrong, permuted=0, equivariant=True)]
